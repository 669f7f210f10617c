package traceless

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"countersign/providers"
)

const (
	maxCallback = 64 << 10 // bytes
	maxSeen     = 4096     // callbacks remembered at a time
)

// callback is a checked Callback.
type callback struct {
	signer           signer
	tolerance        time.Duration
	id, organization pointer
}

func newCallback(c Callback, key []byte, encoding string) (callback, error) {
	out := callback{tolerance: c.Tolerance}
	var bad []error
	if c.Secret != "" {
		var err error
		if key, err = decodeSecret(c.Secret, encoding); err != nil {
			bad = append(bad, fmt.Errorf("secret: %w", err))
		}
	}
	var err error
	if out.signer, err = newSigner(c.Signing, defaultCallback, key); err != nil {
		bad = append(bad, fmt.Errorf("signing: %w", err))
	}
	p := out.signer.Pieces
	signsBody := slices.Contains(p, "body") || slices.Contains(p, "body_sha256")
	if !slices.Contains(p, "timestamp") || !signsBody || slices.Contains(p, "method") || slices.Contains(p, "path") {
		bad = append(bad, errors.New("signing: pieces: want timestamp and body (or body_sha256), and nothing else"))
	}
	if out.tolerance == 0 {
		out.tolerance = defaultTolerance
	}
	if out.tolerance < time.Second || out.tolerance > defaultTolerance {
		bad = append(bad, errors.New("tolerance: want one second to five minutes"))
	}
	f, err := parseFields(Fields{ID: c.ID, Organization: c.Organization})
	if err != nil {
		bad = append(bad, err)
	}
	out.id, out.organization = f.id, f.organization
	return out, errors.Join(bad...)
}

// Callback verifies the signature over time and raw body, and the time. It returns the transaction as Start named it
// where somebody waits for it here, else the service's own id of it, which Wake takes as well. It returns "" for a
// callback that came before, is about another organization, or names no transaction. What it says of the outcome is not read.
func (v *Verifier) Callback(r *http.Request, body []byte) (string, error) {
	if len(body) > maxCallback {
		return "", fmt.Errorf("%w: it is too large", providers.ErrCallback)
	}
	now := v.now()
	at, sum, err := v.callback.signer.verify(r.Header, message{body: body})
	if err != nil {
		return "", fmt.Errorf("%w: %w", providers.ErrCallback, err)
	}
	if off := now.Sub(at); off > v.callback.tolerance || off < -v.callback.tolerance {
		return "", fmt.Errorf("%w: its time is not ours", providers.ErrCallback)
	}
	fresh, err := v.seen.add(sha256.Sum256(sum), at.Add(v.callback.tolerance), now)
	if err != nil || !fresh {
		return "", err
	}
	doc, err := parseObject(body)
	if err != nil {
		return "", nil //nolint:nilerr // signed, and about nothing that we know
	}
	if org := v.callback.organization.find(doc); org != nil {
		if s, ok := org.(string); !ok || lower(s) != v.organization {
			return "", nil
		}
	}
	id := v.callback.id.text(doc)
	if !idShape.MatchString(id) {
		return "", nil
	}
	if name := v.waiting.name(id); name != "" {
		return name, nil
	}
	return id, nil
}

// Handle is the service's own id of a transaction.
func (v *Verifier) Handle(transaction string) string {
	if t, err := parseTransaction(transaction); err == nil {
		return t.id
	}
	return transaction
}

// Wake makes whoever waits for the transaction, named in full or by the service's own id, poll at once.
func (v *Verifier) Wake(transaction string) {
	v.waiting.wake(v.Handle(transaction))
}

// replays remembers signatures for as long as their time is good.
type replays struct {
	mu   sync.Mutex
	till map[[sha256.Size]byte]time.Time
}

// add says whether a signature is new. When too many are new, it is an error: a lost callback only costs a pause.
func (p *replays) add(sum [sha256.Size]byte, till, now time.Time) (fresh bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end, there := p.till[sum]; there && !now.After(end) {
		return false, nil
	}
	if len(p.till) >= maxSeen {
		for k, end := range p.till {
			if now.After(end) {
				delete(p.till, k)
			}
		}
	}
	if len(p.till) >= maxSeen {
		return false, fmt.Errorf("%w: too many at a time", providers.ErrCallback)
	}
	if p.till == nil {
		p.till = map[[sha256.Size]byte]time.Time{}
	}
	p.till[sum] = till
	return true, nil
}

// board knows who waits for what.
type board struct {
	mu   sync.Mutex
	byID map[string][]*waiter
}

type waiter struct {
	name string        // the transaction as Start named it
	wake chan struct{} // holds one call
}

// join waits for calls about an id, until leave.
func (b *board) join(id, name string) (wake <-chan struct{}, leave func()) {
	w := &waiter{name: name, wake: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byID == nil {
		b.byID = map[string][]*waiter{}
	}
	b.byID[id] = append(b.byID[id], w)
	return w.wake, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.byID[id] = slices.DeleteFunc(b.byID[id], func(o *waiter) bool { return o == w })
		if len(b.byID[id]) == 0 {
			delete(b.byID, id)
		}
	}
}

// name returns the transaction that somebody waits for under an id; "" when nobody does.
func (b *board) name(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w := b.byID[id]; len(w) > 0 {
		return w[0].name
	}
	return ""
}

// wake calls whoever waits for an id. It does not block.
func (b *board) wake(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.byID[id] {
		select {
		case w.wake <- struct{}{}:
		default: // called already
		}
	}
}
