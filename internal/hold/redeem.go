package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/policy"
)

// Unfinished is a redemption that the journal has and whose completion it has not: the process ended in between.
type Unfinished struct {
	HoldKey string
	Hold    ID
	At      time.Time
}

// Redeem spends an approved hold, once over all replicas, for exactly the bytes approved: an atomic Approved → Spent.
// Only after nil may the request be sent. Errors: ErrSpent (also wrapped with ErrExpired: approved, and claimed too
// late), ErrDraining, and ErrLedger, after which the approval counts as spent, because it may be.
func (d *Desk) Redeem(ctx context.Context, id ID, digest policy.Digest, exchange string) (Record, error) {
	if d.isDraining() {
		return Record{}, ErrDraining
	}
	key, err := d.keyOf(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Record{}, fmt.Errorf("%w: %w", ErrSpent, err)
	}
	if err != nil {
		return Record{}, err
	}
	if err := d.ensureLease(ctx); err != nil {
		return Record{}, err
	}
	d.mu.Lock()
	_, twice := d.open[id]
	if !twice {
		d.open[id] = time.Now()
	}
	d.mu.Unlock()
	if twice {
		return Record{}, fmt.Errorf("%w: being redeemed", ErrSpent)
	}
	rec, err := d.change(ctx, key, id, Event{Kind: EventRedeemed, Digest: digest, Desk: d.name, Exchange: exchange}, time.Time{})
	if err != nil {
		d.mu.Lock()
		delete(d.open, id)
		d.mu.Unlock()
	}
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrSpent, err)
	}
	return rec, err
}

// Answered notes that upstream's answer to a redeemed request is known. It outlives the caller: ctx's end does not stop it.
func (d *Desk) Answered(ctx context.Context, id ID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := d.insist(ctx, func() error {
		key, err := d.keyOf(ctx, id)
		if err != nil {
			return err
		}
		_, err = d.change(ctx, key, id, Event{Kind: EventAnswered}, time.Time{})
		return err
	})
	d.mu.Lock()
	delete(d.open, id)
	d.mu.Unlock()
	return err
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
