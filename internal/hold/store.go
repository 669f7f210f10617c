package hold

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/internal/audit"
)

// load returns the hold that key names; the zero Record where there is none.
func (d *Desk) load(ctx context.Context, key string) (Record, uint64, error) {
	e, err := d.o.Ledger.Load(ctx, holdPrefix+key)
	if err != nil {
		return Record{}, 0, ledgerError(err)
	}
	r, err := decode(e)
	return r, e.Rev, err
}

// put stores a hold in place of what is at rev. ErrStale comes back as it is.
func (d *Desk) put(ctx context.Context, r Record, rev uint64) (uint64, error) {
	b, err := encode(r)
	if err != nil {
		return 0, err
	}
	newRev, err := d.o.Ledger.Store(ctx, Entry{Key: holdPrefix + r.Key, Value: b, Rev: rev, TTL: ttl(r, time.Now())})
	if err != nil {
		return 0, ledgerError(err)
	}
	return newRev, nil
}

// create stores a new hold and, before it, the way from its id to its key.
func (d *Desk) create(ctx context.Context, r Record, rev uint64) (uint64, error) {
	index := Entry{Key: idPrefix + string(r.ID), Value: []byte(r.Key)}
	index.TTL = r.ExpiresAt.Sub(r.OpenedAt) + 2*r.Resume + OutcomeUnknownFor + 2*time.Hour
	if _, err := d.o.Ledger.Store(ctx, index); err != nil {
		return 0, ledgerError(err)
	}
	newRev, err := d.put(ctx, r, rev)
	if err != nil {
		d.spawn(func() { // whoever waits may try again meanwhile: both go by what is on record
			clean, cancel := context.WithTimeout(context.WithoutCancel(d.base), insistTime)
			defer cancel()
			_ = d.insist(clean, func() error { return d.remove(clean, r) }) // best effort: see remove
		})
		return 0, err
	}
	return newRev, nil
}

// remove takes back a hold that was never started. What stays, when it fails, is run by nobody and cleaned up by its TTL.
func (d *Desk) remove(ctx context.Context, r Record) error {
	rec, rev, err := d.load(ctx, r.Key)
	if err == nil && rec.ID == r.ID && rec.State == Pending {
		_, err = d.o.Ledger.Store(ctx, Entry{Key: holdPrefix + r.Key, Rev: rev})
	}
	if err != nil {
		return ledgerError(err)
	}
	e, err := d.o.Ledger.Load(ctx, idPrefix+string(r.ID))
	if err == nil && e.Rev != 0 {
		_, err = d.o.Ledger.Store(ctx, Entry{Key: e.Key, Rev: e.Rev})
	}
	if err != nil {
		return ledgerError(err)
	}
	return nil
}

// errUnsure says that a Store failed which may have happened all the same.
var errUnsure = errors.New("hold: it may have been stored")

// change applies one event to one hold, by compare-and-set until the ledger takes it. at fixes the moment that a record
// in the journal already names; zero is now. Where an error is errUnsure too, the change may have been made or not.
func (d *Desk) change(ctx context.Context, key string, id ID, e Event, at time.Time) (Record, error) {
	// What was seen last will mostly do, and saves reading it. Not where the Store is tried only once: a ledger that cannot be read is
	// not to cost an approval.
	known := e.Kind != EventRedeemed
	for range maxTries {
		rec, rev, recalled := Record{}, uint64(0), false
		if known {
			rec, rev, recalled = d.recall(key, id)
			known = false
		}
		var err error
		if !recalled {
			rec, rev, err = d.load(ctx, key)
		}
		if err != nil {
			return Record{}, err
		}
		if rec.ID != id {
			return Record{}, ErrNotFound
		}
		now := at
		if now.IsZero() {
			now = time.Now()
		}
		next, err := Step(rec, e, now)
		if err != nil && recalled {
			continue // it may have changed meanwhile
		}
		if err != nil {
			d.learn(rec, rev)
			return rec, err
		}
		newRev, err := d.put(ctx, next, rev)
		if errors.Is(err, ErrStale) {
			continue
		}
		if err != nil {
			return rec, fmt.Errorf("%w: %w", errUnsure, err)
		}
		d.learn(next, newRev)
		d.observe(e, next)
		return next, nil
	}
	return Record{}, fmt.Errorf("%w: contention", ErrLedger)
}

// conclude ends a hold: journal first, then the ledger, and only then does anybody learn of it. h may be nil when this
// desk does not know the hold. ErrTransition says that it had ended already. Once begun it is done, whether or not
// ctx ends: half an end is none.
func (d *Desk) conclude(ctx context.Context, h *live, key string, id ID, e Event) (Record, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*insistTime+recordTime)
	defer cancel()
	if h != nil {
		h.settling.Lock()
		defer h.settling.Unlock()
	}
	var rec Record
	err := d.insist(ctx, func() (err error) {
		var rev uint64
		if rec, rev, err = d.load(ctx, key); err == nil {
			d.learn(rec, rev)
		}
		return err
	})
	if err == nil && rec.ID != id {
		err = ErrNotFound
	}
	if err != nil {
		d.fail(h, err)
		return rec, err
	}
	now := time.Now()
	next, err := Step(rec, e, now)
	if err != nil {
		return rec, err
	}
	if err := d.record(ctx, audit.HoldEnded, next); err != nil {
		if rec.State == Pending {
			d.fault(ctx, h, key, id, err)
		}
		return rec, err
	}
	e.Escalated = d.escalate(ctx, next)
	err = d.insist(ctx, func() (err error) {
		next, err = d.change(ctx, key, id, e, now)
		return err
	})
	if err != nil && !errors.Is(err, ErrTransition) {
		d.fail(h, err)
	}
	return next, err
}

// fault ends a pending hold whose record could not be written. It tells who waits here why.
func (d *Desk) fault(ctx context.Context, h *live, key string, id ID, why error) {
	d.fail(h, why)
	_, err := d.change(ctx, key, id, Event{Kind: EventFaulted, Detail: "not recorded"}, time.Time{})
	if err != nil && !errors.Is(err, ErrTransition) {
		d.o.Logger.Error("hold: neither journal nor ledger", "hold", string(id), "error", err)
	}
}

// escalate records that a human is needed where one is, and tells a sink. It returns whether the sink took it.
func (d *Desk) escalate(ctx context.Context, r Record) bool {
	switch r.State {
	case NotEnrolled, LockedOut, Fraud, Unavailable:
	case Unopened, Pending, Approved, Spent, Denied, TimedOut, Withdrawn, Expired:
		return false
	default:
		return false
	}
	if err := d.record(ctx, audit.Escalation, r); err != nil {
		return false // the hold is refused all the same, and nobody is told of what is not recorded
	}
	if d.o.Escalated == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	taken := false
	if err := guard(func() error { taken = d.o.Escalated(ctx, r); return nil }); err != nil {
		d.o.Logger.Error("hold: escalation", "hold", string(r.ID), "error", err)
		return false
	}
	return taken
}

// record writes one event of a hold to the journal.
func (d *Desk) record(ctx context.Context, kind string, r Record) error {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	e := audit.Event{
		Kind: kind, Exchange: r.Exchange, Hold: string(r.ID), HoldKey: r.Key, Subject: &r.Subject, Channel: r.Channel,
		Digest: &r.Digest, Revision: r.Revision, State: r.State.String(), Provider: r.Provider,
		Transaction: r.Transaction, Evidence: r.Evidence, Detail: r.Detail,
	}
	if kind == audit.HoldOpened || kind == audit.Escalation {
		e.Operations = r.Operations
	}
	switch {
	case r.Blocked != nil:
		e.Detail = r.Blocked.Reason
	case r.By != "":
		e.Detail = "by " + r.By
	}
	if err := d.o.Recorder.Record(ctx, e); err != nil {
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	return nil
}

// insist repeats f while the ledger fails, for as long as an orderly change of leader takes.
func (d *Desk) insist(ctx context.Context, f func() error) error {
	return repeat(ctx, nil, insistTime, f)
}

// rideOver does the same for somebody who waits, and with less patience: f is given a context that ends with it, and it ends
// when the desk stops. Not more callers are kept than there may be holds.
func (d *Desk) rideOver(ctx context.Context, f func(context.Context) error) error {
	limit := attachTime
	defer d.riding.Add(-1)
	if d.riding.Add(1) > int64(d.o.MaxHolds) {
		limit = 0
	}
	short, cancel := context.WithTimeout(ctx, attachTime)
	defer cancel()
	err := repeat(short, d.drained, limit, func() error { return f(short) })
	if errors.Is(err, ErrLedger) && d.isDraining() {
		return ErrDraining
	}
	return err
}

// repeat calls f until it does not fail for the ledger's sake, limit has passed, or ctx or stop ends. A document that is not authentic stays
// so.
func repeat(ctx context.Context, stop <-chan struct{}, limit time.Duration, f func() error) error {
	begun, pause := time.Now(), 50*time.Millisecond
	for {
		err := f()
		if !errors.Is(err, ErrLedger) || errors.Is(err, ErrUnauthentic) || time.Since(begun) >= limit {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-stop:
			timer.Stop()
			return err
		}
		pause = min(2*pause, time.Second)
	}
}

func (d *Desk) observe(e Event, r Record) {
	if d.o.Observe == nil {
		return
	}
	if err := guard(func() error { d.o.Observe(e, r); return nil }); err != nil {
		d.o.Logger.Error("hold: observer", "hold", string(r.ID), "error", err)
	}
}

// ledgerError marks what a ledger returned, but for the one error that says to look again.
func ledgerError(err error) error {
	switch {
	case errors.Is(err, ErrStale):
		return ErrStale
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrKey):
		return fmt.Errorf("%w: %w", ErrRequest, err)
	default:
		return fmt.Errorf("%w: %w", ErrLedger, err)
	}
}
