package hold

import (
	"context"
	"errors"
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
func (d *Desk) queue(ctx context.Context, rec Record, a *asking) (func(), error) {
	keys := d.accountsOf(rec.Subject).person
	turns := map[string]*turn{}
	for _, key := range keys {
		turns[key] = d.enterTurn(key)
	}
	leave := func() {
		for key, t := range turns {
			d.leaveTurn(key, t)
		}
	}
	line := turns[keys[0]] // the id is always there; who is named otherwise meets in the ledger
	select {
	case line.slot <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
	next := func() {
		<-line.slot
		leave()
	}
	for {
		changed := map[string]<-chan struct{}{}
		d.mu.Lock()
		for key, t := range turns {
			changed[key] = t.changed
		}
		d.mu.Unlock()
		wait, at, err := d.claim(ctx, rec)
		if err == nil && wait.IsZero() {
			a.claimed = true
			return next, nil
		}
		if err == nil {
			err = d.pause(ctx, changed[at], wait)
		}
		if err != nil {
			// Some of it may still be taken.
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
