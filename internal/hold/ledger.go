package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"countersign/policy"
)

var (
	// ErrStale is what a Ledger's Store returns when the document is not at the revision given.
	ErrStale = errors.New("hold: stale revision")
	// ErrTooLarge is what a Ledger's Store returns for a value of more than MaxValue bytes.
	ErrTooLarge = errors.New("hold: document too large")
	// ErrKey is what a Ledger returns for a key that is not of the form that Entry promises.
	ErrKey = errors.New("hold: malformed key")
)

// MaxValue is the size up to which a Ledger takes a value, MaxKey that of a key.
const (
	MaxValue = 64 << 10
	MaxKey   = 200
)

// Entry is one document of a ledger.
type Entry struct {
	Key   string // tokens of letters, digits, "-" and "_", joined by dots, at most MaxKey bytes
	Value []byte // neither side changes it after it was handed over; nil: there is no document
	Rev   uint64 // grows with every change of the document; 0: there is no document
	// TTL lets the ledger remove the document when that time has passed without another Store; 0: never. It only cleans
	// up: the ledger may be late, is never early, and nothing is decided by it.
	TTL time.Duration
}

// Ledger keeps documents that several replicas change by compare-and-set. It is safe for concurrent use.
//
// What an implementation promises: a Store that returned nil is durable, as far as the ledger is, and every Load that
// begins afterwards, on any replica, sees it or a later one (linearizable; no stale reads). A Store that returned an error other than ErrStale, ErrTooLarge or
// ErrKey may have happened or not. Calls honour their context and do not retry a Store by themselves.
// The conformance suite is internal/ledger/storetest.
type Ledger interface {
	// Load returns the document of key, TTL left out. Where there is none, Value is nil and Rev 0, without an error.
	Load(ctx context.Context, key string) (Entry, error)
	// Store writes e.Value if the document is at e.Rev, where 0 means that there is none, and returns the new revision.
	// A nil Value removes the document, and returns 0. Anything else than e.Rev there is ErrStale.
	Store(ctx context.Context, e Entry) (uint64, error)
	// Watch yields every document whose key starts with prefix (tokens, ending in a dot, or empty for all), then an
	// Entry with an empty Key, then every change; a removed document has a nil Value. Changes that come faster than
	// they are taken may be merged, but the last one of a key is always yielded, and a key's revisions only grow.
	// The sequence ends with an error, that of ctx when it ended.
	Watch(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

// Prefixes of the documents: a hold by its key, a hold's key by its id, a person's budget, an agent's and a tenant's
// ceiling, a desk's lease, a transaction that its provider may call back about.
const (
	holdPrefix   = "hold."
	idPrefix     = "id."
	personPrefix = "person."
	agentPrefix  = "agent."
	tenantPrefix = "tenant."
	deskPrefix   = "desk."
	wakePrefix   = "wake."
)

// document is a Record as the ledger has it. Claims stay out: they are the assertion's, may be large, and no later
// decision reads them from here.
type document struct {
	*plain
	Subject subject `json:"subject"`
}

type plain Record

type subject struct {
	Agent     string `json:"agent"`
	Ticket    string `json:"ticket,omitempty"`
	ID        string `json:"id"`
	Assurance uint8  `json:"assurance"`
	ObjectID  string `json:"oid,omitempty"`
	TenantID  string `json:"tid,omitempty"`
	Email     string `json:"email,omitempty"`
}

func encode(r Record) ([]byte, error) {
	s := r.Subject
	b, err := json.Marshal(document{plain: (*plain)(&r), Subject: subject{
		Agent: s.Agent, Ticket: s.Ticket, ID: s.Requester.ID, Assurance: uint8(s.Requester.Assurance),
		ObjectID: s.Requester.ObjectID, TenantID: s.Requester.TenantID, Email: s.Requester.Email,
	}})
	if err != nil {
		return nil, fmt.Errorf("encode hold: %w", err)
	}
	if len(b) > MaxValue {
		return nil, fmt.Errorf("%w: %w", ErrRequest, ErrTooLarge)
	}
	return b, nil
}

// decode reads what encode wrote. An absent document is the zero Record.
func decode(e Entry) (Record, error) {
	if e.Value == nil {
		return Record{}, nil
	}
	var r Record
	doc := document{plain: (*plain)(&r)}
	if err := json.Unmarshal(e.Value, &doc); err != nil {
		return Record{}, fmt.Errorf("%w: hold document: %w", ErrLedger, err)
	}
	if r.State == Unopened || r.ID == "" || holdPrefix+r.Key != e.Key {
		return Record{}, fmt.Errorf("%w: malformed hold document", ErrLedger)
	}
	s := doc.Subject
	r.Subject = policy.Subject{Agent: s.Agent, Ticket: s.Ticket, Requester: policy.Requester{
		ID: s.ID, Assurance: policy.Assurance(s.Assurance), ObjectID: s.ObjectID, TenantID: s.TenantID, Email: s.Email,
	}}
	return r, nil
}

// ttl is how long the document of r can matter. Its hold's own clock decides; this only cleans up.
func ttl(r Record, now time.Time) time.Duration {
	const slack = time.Minute
	switch {
	case r.State == Pending:
		return max(r.ExpiresAt.Sub(now), 0) + r.Resume + time.Hour
	case r.State == Approved:
		return r.Resume + time.Hour
	case r.State == Spent && r.AnsweredAt.IsZero():
		return max(OutcomeUnknownFor-now.Sub(r.SpentAt), 0) + slack
	default:
		return r.Resume + slack
	}
}
