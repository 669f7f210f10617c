package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// turn is the line of this desk's holds for one person: one at a time tries for the person's pending push.
type turn struct {
	slot    chan struct{} // holds one; waiting senders are served in order
	changed chan struct{} // closed when the person's document changes; guarded by Desk.mu, as is refs
	refs    int
}

// queue waits, within the hold's own time, until this hold may push, and takes the person's one pending push. The
// function it returns lets the next hold of this desk try.
func (d *Desk) queue(ctx context.Context, person string, rec Record, a *asking) (func(), error) {
	t := d.enterTurn(person)
	select {
	case t.slot <- struct{}{}:
	case <-ctx.Done():
		d.leaveTurn(person, t)
		return nil, context.Cause(ctx)
	}
	next := func() {
		<-t.slot
		d.leaveTurn(person, t)
	}
	for {
		d.mu.Lock()
		changed := t.changed
		d.mu.Unlock()
		wait, err := d.claim(ctx, person, rec)
		if err == nil && wait.IsZero() {
			a.claimed = true
			return next, nil
		}
		if err == nil {
			err = d.pause(ctx, changed, wait)
		}
		if err != nil {
			// A Store that seemed to fail may have happened.
			a.claimed = errors.Is(err, ErrLedger)
			next()
			return nil, err
		}
	}
}

func (d *Desk) pause(ctx context.Context, changed <-chan struct{}, until time.Time) error {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-changed:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// claim takes the push if it is free. Otherwise it returns until when to wait for a change, or a *BudgetError.
func (d *Desk) claim(ctx context.Context, key string, rec Record) (time.Time, error) {
	var wait time.Time
	err := d.insist(ctx, func() error {
		return d.changePerson(ctx, key, func(p *person) (bool, error) {
			var err error
			wait, err = p.claim(d.o.Budget, rec.ID, rec.ExpiresAt, time.Now())
			return wait.IsZero(), err
		})
	})
	if err != nil && ctx.Err() != nil {
		return wait, context.Cause(ctx)
	}
	return wait, err
}

// release gives the push back, with what became of it.
func (d *Desk) release(ctx context.Context, key string, id ID, a asking, ringing time.Duration) error {
	return d.changePerson(ctx, key, func(p *person) (bool, error) {
		p.release(d.o.Budget, id, a.asked, a.verdict, ringing, time.Now())
		return true, nil
	})
}

// affordable answers a *BudgetError if this person may not be pushed now at all.
func (d *Desk) affordable(ctx context.Context, id string) error {
	e, err := d.o.Ledger.Load(ctx, personKey(id))
	if err != nil {
		return ledgerError(err)
	}
	p, err := decodePerson(e)
	if err != nil {
		return err
	}
	if blocked := p.check(d.o.Budget, time.Now()); blocked != nil {
		return blocked
	}
	return nil
}

// changePerson changes a person's document by compare-and-set. f says whether there is anything to store.
func (d *Desk) changePerson(ctx context.Context, key string, f func(*person) (bool, error)) error {
	for range maxTries {
		e, err := d.o.Ledger.Load(ctx, key)
		if err != nil {
			return ledgerError(err)
		}
		p, err := decodePerson(e)
		if err != nil {
			return err
		}
		if store, err := f(&p); err != nil || !store {
			return err
		}
		if e.Value, err = json.Marshal(p); err != nil {
			return fmt.Errorf("encode person: %w", err)
		}
		e.TTL = p.ttl()
		if _, err = d.o.Ledger.Store(ctx, e); err == nil {
			return nil
		}
		if err = ledgerError(err); !errors.Is(err, ErrStale) {
			return err
		}
	}
	return fmt.Errorf("%w: contention", ErrLedger)
}

// Clear lifts what blocks pushes to a person, a fraud report included. It is for an operator.
func (d *Desk) Clear(ctx context.Context, id string) error {
	return d.changePerson(ctx, personKey(id), func(p *person) (bool, error) {
		now := time.Now()
		p.prune(now)
		pending := p.Pushes[:0:0]
		for _, u := range p.Pushes {
			if u.pending(now) {
				pending = append(pending, u)
			}
		}
		*p = person{Pushes: pending, NextAt: p.NextAt}
		return true, nil
	})
}

func (d *Desk) enterTurn(person string) *turn {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.turns[person]
	if t == nil {
		t = &turn{slot: make(chan struct{}, 1), changed: make(chan struct{})}
		d.turns[person] = t
	}
	t.refs++
	return t
}

func (d *Desk) leaveTurn(person string, t *turn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.refs--; t.refs == 0 {
		delete(d.turns, person)
	}
}

// sawPerson wakes whoever waits for a person's push to end.
func (d *Desk) sawPerson(e Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.turns[e.Key]; t != nil {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}
