package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Unfinished is a redemption that the journal has and whose completion it has not: the process ended in between.
type Unfinished struct {
	HoldKey string
	Hold    ID
	At      time.Time
}

// Get returns the hold of that id, or ErrNotFound.
func (d *Desk) Get(ctx context.Context, id ID) (Record, error) {
	key, err := d.keyOf(ctx, id)
	if err != nil {
		return Record{}, err
	}
	rec, _, err := d.load(ctx, key)
	if err == nil && rec.ID != id {
		err = ErrNotFound // an identical request has opened a newer one
	}
	if err != nil {
		return Record{}, err
	}
	return rec, nil
}

// List returns the holds in the ledger, of all desks, oldest first: live ones and those that ended a little while ago.
func (d *Desk) List(ctx context.Context) ([]Record, error) {
	var out []Record
	for e, err := range d.o.Ledger.Watch(ctx, holdPrefix) {
		if err != nil {
			return nil, ledgerError(err)
		}
		if e.Key == "" {
			break
		}
		r, err := decode(e)
		if err != nil {
			return nil, err
		}
		if r.State != Unopened {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return a.OpenedAt.Compare(b.OpenedAt) })
	return out, nil
}

// Withdraw takes a pending or approved hold back, on whichever replica it runs. by is the operator, for the journal.
// ErrTransition says that it is no longer live.
func (d *Desk) Withdraw(ctx context.Context, id ID, by string) error {
	if by = clean(by, maxDetail); by == "" {
		return fmt.Errorf("%w: nobody withdraws", ErrRequest)
	}
	key, err := d.keyOf(ctx, id)
	if err != nil {
		return err
	}
	_, err = d.conclude(ctx, d.lookup(id), key, id, Event{Kind: EventWithdrawn, Detail: "operator", By: by})
	return err
}

// Seed makes the desk answer ErrOutcomeUnknown for ten minutes, by hold key, to requests identical to redemptions that
// the journal shows without an end. It is called once, before the first Attach. A ledger that outlived the crash knows
// better and is left as it is.
func (d *Desk) Seed(ctx context.Context, crashed []Unfinished) error {
	for _, u := range crashed {
		rec := Record{ID: u.Hold, Key: u.HoldKey, State: Spent, SpentAt: u.At, Redeemer: "crashed", Resume: d.o.Resume}
		if u.Hold == "" || u.HoldKey == "" || time.Since(u.At) >= OutcomeUnknownFor {
			continue
		}
		err := ErrStale
		for errors.Is(err, ErrStale) {
			var known Record
			var rev uint64
			if known, rev, err = d.load(ctx, u.HoldKey); err != nil || known.State != Unopened {
				break
			}
			_, err = d.put(ctx, rec, rev)
		}
		if err != nil {
			return fmt.Errorf("seed unfinished redemption: %w", err)
		}
	}
	return nil
}

func (d *Desk) keyOf(ctx context.Context, id ID) (string, error) {
	if !wellFormed(id) {
		return "", ErrNotFound
	}
	if h := d.lookup(id); h != nil { // an id never moves to another key
		return h.key, nil
	}
	e, err := d.o.Ledger.Load(ctx, idPrefix+string(id))
	if err != nil {
		return "", ledgerError(err)
	}
	if e.Value == nil {
		return "", ErrNotFound
	}
	return string(e.Value), nil
}

// wellFormed keeps what a caller made up out of ledger keys.
func wellFormed(id ID) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
