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

// lineUp waits until it is this hold's turn to try, among those of this desk for the same person. The function it returns
// lets the next one try.
func (d *Desk) lineUp(ctx context.Context, rec Record) (func(), error) {
	key := personKey(rec.Subject.Requester.ID) // the id is always there; who is named otherwise meets in the ledger
	line := d.enterTurn(key)
	select {
	case line.slot <- struct{}{}:
		return func() {
			<-line.slot
			d.leaveTurn(key, line)
		}, nil
	case <-ctx.Done():
		d.leaveTurn(key, line)
		return nil, context.Cause(ctx)
	}
}

// takePush waits, within the hold's own time, until this hold may push, and takes the one pending push of the person and of
// the account that is asked. After an error it has none, unless a.claimed says that some of it may still be taken.
func (d *Desk) takePush(ctx context.Context, rec Record, a *asking) error {
	turns := map[string]*turn{}
	for _, key := range d.accountsOf(rec.Subject, a.accounts...).person {
		turns[key] = d.enterTurn(key)
	}
	defer func() {
		for key, t := range turns {
			d.leaveTurn(key, t)
		}
	}()
	for {
		changed := map[string]<-chan struct{}{}
		d.mu.Lock()
		for key, t := range turns {
			changed[key] = t.changed
		}
		d.mu.Unlock()
		wait, at, err := d.claim(ctx, rec, *a)
		a.claimed = err == nil && wait.IsZero() || errors.Is(err, ErrLedger)
		if err != nil || a.claimed {
			return err
		}
		a.passed = nil // given back with the rest
		if err := d.pause(ctx, changed[at], wait); err != nil {
			return err
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
