package signin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"countersign/providers"
)

const (
	maxSpent    = 20 // answers of the OpenID provider that one question takes, and five of them from one browser
	maxPerOne   = 5
	maxRecord   = 48 << 10
	casAttempts = 16
	keepAfter   = 30 * time.Minute // how long an answer can be fetched again
)

// record is one question, as the Store has it. It holds no secret that would let its reader answer: what binds a
// sign-in to a browser stays in that browser.
type record struct {
	Hold     string            `json:"hold"`
	Person   providers.Person  `json:"person"` // with ObjectID and TenantID
	Title    string            `json:"title"`
	Fields   []providers.Field `json:"fields,omitempty"`
	Code     string            `json:"code,omitempty"`
	Asked    time.Time         `json:"asked"`
	Expires  time.Time         `json:"expires"`
	Key      []byte            `json:"key"` // authenticates states; see state.go
	Spent    []spent           `json:"spent,omitempty"`
	Trouble  string            `json:"trouble,omitempty"` // what last kept a sign-in from counting, for the journal
	OurFault bool              `json:"our_fault,omitempty"`
	Outcome  *outcome          `json:"outcome,omitempty"` // set once
}

// spent is a state that came back.
type spent struct {
	State   string `json:"state"` // hashes
	Browser string `json:"browser"`
}

type outcome struct {
	Verdict     providers.Verdict `json:"verdict"`
	ImmutableID string            `json:"immutable_id,omitempty"`
	AMR         []string          `json:"amr,omitempty"`
	At          time.Time         `json:"at"`
	Detail      string            `json:"detail,omitempty"`
}

func (o outcome) public() providers.Outcome {
	return providers.Outcome{Verdict: o.Verdict, ImmutableID: o.ImmutableID, AMR: o.AMR, At: o.At, Detail: o.Detail}
}

// closed says whether no answer counts any more.
func (r *record) closed(now time.Time) bool { return r.Outcome != nil || !now.Before(r.Expires) }

var (
	errNoQuestion = errors.New("signin: no such question")
	errClosed     = errors.New("signin: the question is closed")
)

// transactionShape is that of 192 random bits.
var transactionShape = regexp.MustCompile(`^[A-Za-z0-9_-]{32}$`)

func newTransaction() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// storeKey keeps the address of the page out of the Store.
func storeKey(transaction string) string {
	sum := sha256.Sum256([]byte(transaction))
	return "signin." + hex.EncodeToString(sum[:])
}

// load returns a question, or errNoQuestion.
func (v *Verifier) load(ctx context.Context, transaction string) (*record, uint64, error) {
	if !transactionShape.MatchString(transaction) {
		return nil, 0, errNoQuestion
	}
	value, rev, err := v.o.Store.Load(ctx, storeKey(transaction))
	if err != nil {
		return nil, 0, fmt.Errorf("signin: load: %w", err)
	}
	if len(value) == 0 {
		return nil, 0, errNoQuestion
	}
	r := new(record)
	if err := json.Unmarshal(value, r); err != nil || len(r.Key) != sha256.Size || r.Person.ObjectID == "" || r.Person.TenantID == "" || r.Expires.IsZero() {
		return nil, 0, errors.New("signin: stored question is malformed")
	}
	return r, rev, nil
}

func (v *Verifier) store(ctx context.Context, transaction string, r *record, rev uint64) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // three times the size for text that html/template escapes anyway
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("signin: encode: %w", err)
	}
	value := b.Bytes()
	if len(value) > maxRecord {
		return errors.New("signin: question too large")
	}
	ttl := max(r.Expires.Sub(v.o.Now()), 0) + keepAfter
	if _, err := v.o.Store.Store(ctx, storeKey(transaction), value, rev, ttl); err != nil {
		return fmt.Errorf("signin: store: %w", err)
	}
	return nil
}

// change applies f to a question until nobody else changed it meanwhile. An error of f ends it, and stores nothing.
func (v *Verifier) change(ctx context.Context, transaction string, f func(*record) error) (*record, error) {
	for range casAttempts {
		r, rev, err := v.load(ctx, transaction)
		if err != nil {
			return nil, err
		}
		if err := f(r); err != nil {
			return r, err
		}
		switch err := v.store(ctx, transaction, r, rev); {
		case err == nil:
			return r, nil
		case !errors.Is(err, ErrConflict):
			return nil, err
		}
	}
	return nil, ErrConflict
}

// settle writes the outcome, unless there is one or the time is over: the first counts.
func (v *Verifier) settle(ctx context.Context, transaction string, o outcome) (*record, error) {
	return v.change(ctx, transaction, func(r *record) error {
		if r.closed(v.o.Now()) {
			return errClosed
		}
		r.Outcome = &o
		return nil
	})
}
