package traceless

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// limit is how long a challenge can be answered, from its start.
const limit = 5 * time.Minute

// transaction is what a hold stores: enough to go on after a restart, and to know whose answer it has to be.
type transaction struct {
	started time.Time
	person  string // tag of the e-mail
	id      string // the service's
}

// version of the text form; another one is another form.
const version = "t1"

// String returns "t1.<start in milliseconds>.<tag of the person>.<id>".
func (t transaction) String() string {
	return fmt.Sprintf("%s.%d.%s.%s", version, t.started.UnixMilli(), t.person, t.id)
}

func parseTransaction(s string) (transaction, error) {
	if len(s) > 300 {
		return transaction{}, ErrTransaction
	}
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 4 || parts[0] != version || len(parts[2]) != 2*tagSize || !idShape.MatchString(parts[3]) {
		return transaction{}, ErrTransaction
	}
	ms, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || ms < 0 || ms > 1<<50 {
		return transaction{}, ErrTransaction
	}
	t := transaction{started: time.UnixMilli(ms), person: parts[2], id: parts[3]}
	if t.String() != s {
		return transaction{}, ErrTransaction
	}
	return t, nil
}

const tagSize = 16

// tag stands for an e-mail where it can be compared and need not be read.
func tag(email string) string {
	sum := sha256.Sum256([]byte(lower(email)))
	return hex.EncodeToString(sum[:tagSize])
}

// lower folds ASCII only: other letters have foldings under which two people become one.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + ('a' - 'A')
		}
		return r
	}, s)
}

// address returns the e-mail to send for a person; "" when there is none fit to send.
func address(id string) string {
	local, domain, ok := strings.Cut(id, "@")
	if !ok || local == "" || domain == "" || strings.Contains(domain, "@") || len(id) > 254 || !utf8.ValidString(id) ||
		strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || hidden(r) }) {
		return ""
	}
	return id
}
