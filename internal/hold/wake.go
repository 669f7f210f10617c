package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"countersign/providers"
)

// wakeEvery bounds how often one transaction wakes anybody: a service that calls back over and over changes nothing.
const wakeEvery = time.Second

// bell is the document of a transaction that its provider may call back about. Every change of it wakes who waits.
type bell struct {
	Hold ID        `json:"hold"`
	Rung time.Time `json:"rung,omitzero"`
}

func wakeKey(provider, transaction string) string { return wakePrefix + hash(provider, transaction) }

// Wake makes whoever waits for that transaction look at once, on whichever replica that is. It approves nothing: the
// provider is asked again, and its answer counts. A transaction that no hold waits for costs one look into the ledger and
// leaves nothing there. Errors are the ledger's; the wait goes on without.
func (d *Desk) Wake(ctx context.Context, provider, transaction string) error {
	c := d.callsBack(provider)
	if transaction == "" || c == nil {
		return nil
	}
	var key string
	if err := guard(func() error { key = wakeKey(provider, c.Handle(transaction)); return nil }); err != nil {
		return nil //nolint:nilerr // nobody can be waiting for it
	}
	d.mu.Lock()
	here := d.expected[key]
	d.mu.Unlock()
	if here != nil {
		here()
		return nil
	}
	e, err := d.o.Ledger.Load(ctx, key)
	if err != nil {
		return ledgerError(err)
	}
	var b bell
	if e.Value == nil {
		return nil
	}
	if err := json.Unmarshal(e.Value, &b); err != nil {
		return fmt.Errorf("%w: wake document: %w", ErrLedger, err)
	}
	if time.Since(b.Rung) < wakeEvery {
		return nil
	}
	b.Rung = time.Now()
	if err := d.storeBell(ctx, key, b, e.Rev); err != nil && !errors.Is(err, ErrStale) { // somebody else has just done it
		return err
	}
	return nil
}

// callsBack returns the provider of that name if its service calls back.
func (d *Desk) callsBack(provider string) providers.Caller {
	for _, v := range d.o.Verifiers {
		if v.Name == provider {
			c, _ := v.Verifier.(providers.Caller)
			return c
		}
	}
	return nil
}

func (d *Desk) storeBell(ctx context.Context, key string, b bell, rev uint64) error {
	value, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode wake document: %w", err)
	}
	// Nobody waits for longer; what outlives its hold rings for nobody.
	if _, err := d.o.Ledger.Store(ctx, Entry{Key: key, Value: value, Rev: rev, TTL: d.o.Timeout + pushGrace}); err != nil {
		return ledgerError(err)
	}
	return nil
}

// expect lets callbacks about a hold's transaction reach the Wait that is about to begin, wherever they arrive. The function
// it returns ends that. Where the ledger fails, callbacks that arrive at other replicas are lost: polling goes on without.
func (d *Desk) expect(ctx context.Context, id ID, transaction string, v Named) (done func()) {
	c, ok := v.Verifier.(providers.Caller)
	if !ok {
		return func() {}
	}
	var key string
	if err := guard(func() error { key = wakeKey(v.Name, c.Handle(transaction)); return nil }); err != nil {
		d.o.Logger.Error("hold: handle of a transaction", "hold", string(id), "provider", v.Name, "error", err)
		return func() {}
	}
	d.mu.Lock()
	d.expected[key] = func() {
		if err := guard(func() error { c.Wake(transaction); return nil }); err != nil {
			d.o.Logger.Error("hold: wake", "hold", string(id), "provider", v.Name, "error", err)
		}
	}
	d.mu.Unlock()
	short, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := d.storeBell(short, key, bell{Hold: id}, 0); err != nil && !errors.Is(err, ErrStale) {
		d.o.Logger.Warn("hold: callbacks at other replicas are lost", "hold", string(id), "error", err)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.expected, key)
	}
}

// sawWake wakes whoever waits here for a transaction that a callback at another replica was about.
func (d *Desk) sawWake(e Entry) {
	if e.Value == nil {
		return
	}
	var b bell
	if json.Unmarshal(e.Value, &b) != nil || b.Rung.IsZero() {
		return
	}
	d.mu.Lock()
	wake := d.expected[e.Key]
	d.mu.Unlock()
	if wake != nil {
		wake()
	}
}
