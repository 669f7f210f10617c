package microsoft365

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/providers"
	"countersign/providers/microsoft365/strongauth"
)

// A transaction is kept by the hold, so that another process can go on. What made it stands in front.
const (
	pushTag   = "push1."
	signInTag = "signin1."

	maxTransaction = 4 << 10
)

// transaction is all that is needed to learn how a push ended.
type transaction struct {
	Session  string `json:"s"`
	Context  string `json:"c"`
	UPN      string `json:"u"`
	TenantID string `json:"t"`
	ObjectID string `json:"o"`
	Host     string `json:"h"` // base URL
	Began    int64  `json:"b"` // Unix seconds
	Settled  string `json:"v"` // the value, where Begin's answer was the end already
}

var sessionShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

func (t transaction) began() time.Time { return time.Unix(t.Began, 0) }

// person returns the immutable id of who was asked.
func (t transaction) person() string { return t.TenantID + "/" + t.ObjectID }

func (t transaction) String() string {
	raw, err := json.Marshal(t)
	if err != nil {
		return "" // strings and a number: it cannot fail
	}
	return pushTag + base64.RawURLEncoding.EncodeToString(raw)
}

// pushTransaction reads a transaction back. It goes through the ledger, and names where our token is sent: only what Start
// can have written is taken.
func (v *Verifier) pushTransaction(s string) (transaction, error) {
	encoded, ok := strings.CutPrefix(s, pushTag)
	if !ok || len(s) > maxTransaction || v.connector == nil {
		return transaction{}, ErrTransaction
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return transaction{}, ErrTransaction
	}
	var t transaction
	if json.Unmarshal(raw, &t) != nil || t.String() != s {
		return transaction{}, ErrTransaction
	}
	end, _ := strongauth.MeaningOf(t.Settled)
	settled := t.Settled != "" && end.Answered
	if t.Settled != "" && !settled || !settled && !sessionShape.MatchString(t.Session) || !guidShape.MatchString(t.Context) ||
		!plainName(t.UPN) || t.TenantID != v.tenant || !guidShape.MatchString(t.ObjectID) || !slices.Contains(v.connector.hosts, t.Host) {
		return transaction{}, ErrTransaction
	}
	return t, nil
}

// signInTransaction returns the sign-in's own transaction.
func (v *Verifier) signInTransaction(s string) (string, bool) {
	inner, ok := strings.CutPrefix(s, signInTag)
	return inner, ok && inner != "" && v.signIn != nil && v.mode != Push
}

// tagged marks what the sign-in began.
func tagged(a providers.Attempt) providers.Attempt {
	if a.Transaction != "" {
		a.Transaction = signInTag + a.Transaction
	}
	return a
}
