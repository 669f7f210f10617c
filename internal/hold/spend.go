package hold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/policy"
)

const (
	noteTime  = 2 * time.Second        // longest an answer on its way to the caller is kept for the ledger to know of it
	notePause = 500 * time.Millisecond // between looks at a ledger that failed then; it doubles up to noteMost
	noteMost  = 5 * time.Second
)

// Redeem spends an approved hold, once over all replicas, for exactly the bytes approved: an atomic Approved → Spent.
// Only after nil may the request be sent. While the ledger cannot be read it tries again, for ten seconds at most; a compare-and-set is
// tried once, because nobody may send on a guess. Errors: ErrSpent (also wrapped with ErrExpired: approved, and claimed too
// late), ErrDraining, and ErrLedger, after which the approval counts as spent, because it may be.
func (d *Desk) Redeem(ctx context.Context, id ID, digest policy.Digest, exchange string) (Record, error) {
	if d.isDraining() {
		return Record{}, ErrDraining
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
	var rec Record
	var key string
	var unsure error
	err := d.rideOver(ctx, func(ctx context.Context) (err error) {
		if key, err = d.keyOf(ctx, id); err == nil {
			err = d.ensureLease(ctx)
		}
		if err != nil {
			return err
		}
		e := Event{Kind: EventRedeemed, Digest: digest, Desk: d.name, Exchange: exchange}
		if rec, err = d.change(ctx, key, id, e, time.Time{}); errors.Is(err, errUnsure) {
			unsure, err = err, nil
		}
		return err
	})
	switch {
	case err == nil && unsure == nil:
		return rec, nil
	case unsure != nil:
		// The request is not sent, whatever is found. If it is found spent by this exchange, that no answer will come is known.
		d.noteLater(id, key, func(r Record) bool { return r.Redeemer == d.name && r.RedeemedBy == exchange })
		return rec, unsure
	}
	d.closeRedemption(id)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("%w: %w", ErrSpent, err)
	}
	return rec, err
}

func (d *Desk) closeRedemption(id ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, id)
}

// Answered notes that upstream's answer to a redeemed request is known. It outlives the caller: ctx's end does not stop it. Where the
// ledger does not take it soon, the desk goes on trying by itself, and says so in the log if it gives up.
func (d *Desk) Answered(ctx context.Context, id ID) error {
	ctx = context.WithoutCancel(ctx)
	short, cancel := context.WithTimeout(ctx, noteTime)
	key, err := d.note(short, id, "", nil)
	cancel()
	if errors.Is(err, ErrLedger) {
		if d.noteLater(id, key, nil) {
			return nil
		}
		last, cancel := context.WithTimeout(ctx, recordTime) // the desk is stopping: now or never
		defer cancel()
		err = d.insist(last, func() error { _, err := d.note(last, id, key, nil); return err })
	}
	d.closeRedemption(id)
	return err
}

// note writes down that the outcome of a redemption is known, unless it is one that mine does not know. That it was written down
// already, by a Store that seemed to fail, is as good.
func (d *Desk) note(ctx context.Context, id ID, key string, mine func(Record) bool) (string, error) {
	var err error
	if key == "" {
		if key, err = d.keyOf(ctx, id); err != nil {
			return "", err
		}
	}
	if mine != nil {
		rec, _, err := d.load(ctx, key)
		if err != nil || rec.ID != id || rec.State != Spent || !mine(rec) {
			return key, err
		}
	}
	rec, err := d.change(ctx, key, id, Event{Kind: EventAnswered}, time.Time{})
	if errors.Is(err, ErrTransition) && rec.State == Spent && rec.Redeemer == d.name {
		return key, nil // Spent takes no other event: it has been noted
	}
	return key, err
}

// noteLater goes on with note until it is done, or until an identical request is asked about anew anyway. Meanwhile the redemption counts as on
// its way here. False: the desk is stopping.
func (d *Desk) noteLater(id ID, key string, mine func(Record) bool) bool {
	begun := d.spawn(func() {
		defer d.closeRedemption(id)
		ctx, cancel := context.WithTimeout(d.base, OutcomeUnknownFor)
		defer cancel()
		for pause := notePause; ; pause = min(2*pause, noteMost) {
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				d.o.Logger.Warn("hold: outcome of a redemption not noted", "hold", string(id))
				return
			}
			var err error
			if key, err = d.note(ctx, id, key, mine); err == nil || !errors.Is(err, ErrLedger) {
				return
			}
		}
	})
	if !begun && mine != nil {
		d.closeRedemption(id)
	}
	return begun
}
