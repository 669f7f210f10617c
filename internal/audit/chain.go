package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// A line is
//
//	{"seq":7,"prev":"<hash of line 6>","kind":…,"hash":"<SHA-256>"}
//
// where hash covers every byte of the line before `,"hash":"`, prev and seq included. So an edit breaks the line's own
// hash, and a line that is missing, added or moved breaks the next line's prev and seq. What a chain cannot show is that
// its end was cut off, or that all of it was written anew: keep Report.Head elsewhere to compare.
const (
	partSeq  = `{"seq":`
	partPrev = `,"prev":"`
	partHash = `,"hash":"`
	partEnd  = `"}`

	sumLen  = 2 * sha256.Size // of a hash in hexadecimal
	tailLen = len(partHash) + sumLen + len(partEnd)
)

// Bounds on the length of a line, newline left out: what is written, and what is read.
const (
	maxLine = 256 << 10
	maxRead = 1 << 20
)

// link is a place in the chain: the line with this number and hash. The zero link is before the first line.
type link struct {
	seq  uint64
	hash [sha256.Size]byte
}

// seal appends to dst the line that carries body, one JSON object with at least one member, after l.
func (l link) seal(dst, body []byte) ([]byte, link) {
	start := len(dst)
	dst = l.appendHead(dst)
	dst = append(dst, body[1:len(body)-1]...)
	next := link{seq: l.seq + 1, hash: sha256.Sum256(dst[start:])}
	dst = append(dst, partHash...)
	dst = hex.AppendEncode(dst, next.hash[:])
	return append(dst, partEnd+"\n"...), next
}

// appendHead appends how every line after l begins.
func (l link) appendHead(dst []byte) []byte {
	dst = append(dst, partSeq...)
	dst = strconv.AppendUint(dst, l.seq+1, 10)
	dst = append(dst, partPrev...)
	dst = hex.AppendEncode(dst, l.hash[:])
	return append(dst, `",`...)
}

// String returns the hash as the next line's prev has it.
func (l link) String() string { return hex.EncodeToString(l.hash[:]) }

var (
	errForm  = errors.New("not a record of this journal")
	errHash  = errors.New("its content does not match its hash")
	errOrder = errors.New("it does not follow the record before it: one was removed, added, moved or replaced")
)

// unseal reads one line, without newline, by itself: the place it takes and the place it follows.
func unseal(line []byte) (at, after link, err error) {
	rest, ok := bytes.CutPrefix(line, []byte(partSeq))
	if !ok || len(line) < tailLen+len(partSeq) {
		return link{}, link{}, errForm
	}
	digits, rest, ok := bytes.Cut(rest, []byte(partPrev))
	if !ok || len(rest) < sumLen {
		return link{}, link{}, errForm
	}
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil || seq == 0 {
		return link{}, link{}, errForm
	}
	after.seq = seq - 1
	if _, err := hex.Decode(after.hash[:], rest[:sumLen]); err != nil {
		return link{}, link{}, errForm
	}
	covered := line[:len(line)-tailLen]
	// One form only: leading zeros, a sign or capital hex digits are not what seal writes.
	if head := after.appendHead(nil); !bytes.HasPrefix(covered, head) || len(covered) == len(head) {
		return link{}, link{}, errForm
	}
	at = link{seq: seq, hash: sha256.Sum256(covered)}
	if tail := partHash + at.String() + partEnd; string(line[len(covered):]) != tail {
		return link{}, link{}, errHash
	}
	return at, after, nil
}

// precedes checks that the line at a place, which says that it follows after, comes right after l.
func (l link) precedes(at, after link) error {
	if after != l {
		return fmt.Errorf("%w (record %d, expected %d)", errOrder, at.seq, l.seq+1)
	}
	return nil
}
