package hold

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// Key returns the hold key of r: the hash of digest, requester, agent, ticket and channel, each with its length before
// it so that no two requests can be written to look alike. Two requests with the same key are the same attempt.
func Key(r Request) string {
	q := r.Subject.Requester
	return hash(string(r.Digest[:]), q.ID, q.ObjectID, q.TenantID, r.Subject.Agent, r.Subject.Ticket, r.Channel)
}

// personKey names a person's budget. The id alone makes it, whatever else an assertion carries: there is one phone.
func personKey(id string) string { return personPrefix + hash(strings.ToLower(id)) }

// objectKey is the same for an object of the directory, whatever it is called.
func objectKey(id string) string { return personPrefix + hash("object", strings.ToLower(id)) }

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// newID returns 128 random bits in hexadecimal: whoever does not know an id cannot guess it.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}
