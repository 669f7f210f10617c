package hold

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"countersign/internal/audit"
)

// Attachment is one caller's place at a hold.
type Attachment struct {
	d     *Desk
	h     *live
	token string
	once  sync.Once
}

// ID returns the id of the hold.
func (a *Attachment) ID() ID { return a.h.id }

// Record returns the hold as this desk last saw it.
func (a *Attachment) Record() Record {
	return a.d.seen(a.h)
}

// Wait blocks until the hold is no longer pending and returns it: Approved may be redeemed, anything else is why not.
// When ctx ends first it returns the pending record and ctx's error, and the hold goes on. Other errors: ErrDraining,
// ErrJournal, ErrLedger and *BudgetError (queued behind another push, and none is left).
func (a *Attachment) Wait(ctx context.Context) (Record, error) {
	err := a.Settled(ctx)
	return a.Record(), err
}

// Settled blocks as Wait does, and leaves the record to Record. It keeps little in its frames: thousands of callers wait at
// once, and each with a stack of its own.
func (a *Attachment) Settled(ctx context.Context) error {
	for {
		changed, expires, err := a.news()
		if changed == nil {
			return err
		}
		if err := a.await(ctx, expires, changed); err != nil {
			return err
		}
	}
}

// news returns what tells of the next change of a pending hold, and when it ends. nil: it is pending no more.
func (a *Attachment) news() (changed <-chan struct{}, expires time.Time, err error) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	switch h := a.h; {
	case h.err != nil:
		return nil, time.Time{}, h.err
	case h.memo.blocked != nil:
		return nil, time.Time{}, h.memo.blocked
	case h.memo.state != Pending:
		return nil, time.Time{}, nil
	default:
		return h.changed, h.memo.expires, nil
	}
}

func (a *Attachment) await(ctx context.Context, expires time.Time, changed <-chan struct{}) error {
	// Whoever runs the hold may be on another replica, and die.
	overdue := time.NewTimer(time.Until(expires) + pushGrace)
	defer overdue.Stop()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.d.drained:
		return ErrDraining
	case <-overdue.C:
		return a.timeOut(ctx)
	}
}

// timeOut ends a hold that nobody has ended in time.
//
//go:noinline
func (a *Attachment) timeOut(ctx context.Context) error {
	_, err := a.d.conclude(ctx, a.h, a.h.key, a.h.id, Event{Kind: EventTimedOut})
	if errors.Is(err, ErrTransition) {
		return nil // somebody was faster, and it has been learnt
	}
	return err
}

// Leave ends the attachment. delivered says that the caller was given the hold's outcome, or upstream's answer: what was
// not delivered is given once to the same request within the resume time, and a pending hold that nobody comes back to
// within it is withdrawn.
func (a *Attachment) Leave(delivered bool) {
	kind := EventLeft
	if delivered {
		kind = EventDelivered
	}
	a.leave(Event{Kind: kind})
}

// LeaveAsync ends the attachment of a caller that will come back: a pending hold goes on until its own end, whoever is there.
func (a *Attachment) LeaveAsync() { a.leave(Event{Kind: EventLeft, Async: true}) }

func (a *Attachment) leave(e Event) {
	a.once.Do(func() {
		e.Caller = a.token
		a.d.leave(a.h, e)
	})
}

func (d *Desk) leave(h *live, e Event) {
	d.mu.Lock()
	if h.memo.state.Live() {
		h.dropLocked(e.Caller) // a retry that is faster than the Store below may attach
	}
	d.mu.Unlock()
	if err := d.noteLeft(h.key, h.id, e, leaveTime); errors.Is(err, ErrLedger) {
		// As long as it is not known, other replicas take an identical request for a second one.
		d.spawn(func() {
			if err := d.noteLeft(h.key, h.id, e, insistTime); err != nil {
				d.o.Logger.Warn("hold: caller left, ledger does not know", "hold", string(h.id), "error", err)
			}
		})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h.dropLocked(e.Caller) // only now where there was an outcome: it is not given to two
	d.forgetLocked(h)
}

// noteLeft writes down that a caller has left, unless that is known or does not matter any more.
func (d *Desk) noteLeft(key string, id ID, e Event, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.base), limit)
	defer cancel()
	err := d.insist(ctx, func() error {
		_, err := d.change(ctx, key, id, e, time.Time{})
		return err
	})
	if errors.Is(err, ErrTransition) || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// join attaches a caller to the hold on record. ErrTransition says that a new hold is due, ErrStale to look again.
func (d *Desk) join(ctx context.Context, rec Record, rev uint64) (*Attachment, error) {
	if rec.State == Unopened {
		return nil, ErrTransition
	}
	now := time.Now()
	if kind := overdue(rec, now); kind != EventNone {
		if _, err := d.conclude(ctx, d.lookup(rec.ID), rec.Key, rec.ID, Event{Kind: kind}); err != nil && !errors.Is(err, ErrTransition) {
			return nil, err
		}
		return nil, ErrStale
	}
	gone, err := d.whoIsGone(ctx, rec)
	if err != nil {
		return nil, err
	}
	if gone.owner && rec.Owner == d.name && rec.AskedAt.IsZero() {
		return nil, ErrTransition // an opening whose Store seemed to fail and happened all the same: nobody runs it
	}
	e := Event{Kind: EventAttached, Caller: d.token(), Gone: gone.caller}
	next, err := Step(rec, e, now)
	if err != nil {
		return nil, err
	}
	if gone.owner {
		if next, err = Step(next, Event{Kind: EventAdopted, Desk: d.name, Gone: rec.Owner}, now); err != nil {
			return nil, err
		}
		if err := d.reserve(); err != nil {
			return nil, err
		}
	}
	return d.enter(ctx, next, rev, e, gone.owner)
}

// enter stores the attachment that join worked out.
func (d *Desk) enter(ctx context.Context, next Record, rev uint64, e Event, adopt bool) (*Attachment, error) {
	if err := d.ensureLease(ctx); err != nil {
		if adopt {
			d.unreserve()
		}
		return nil, err
	}
	h := d.track(next, rev, e.Caller, adopt)
	newRev, err := d.put(ctx, next, rev)
	if err != nil {
		d.untrack(h, e.Caller, adopt)
		return nil, err
	}
	d.learn(next, newRev)
	d.observe(e, next)
	if adopt && !d.start(h, true) {
		d.untrack(h, e.Caller, true)
		return nil, ErrDraining
	}
	return &Attachment{d: d, h: h, token: e.Caller}, nil
}

// openHold makes a new hold in place of what is at rev, and starts it.
func (d *Desk) openHold(ctx context.Context, key string, r Request, rev uint64) (*Attachment, error) {
	if _, err := d.choose(*r.Decision.Requirement); err != nil {
		return nil, err
	}
	if err := d.affordable(ctx, r.Subject); err != nil {
		return nil, err
	}
	now := time.Now()
	token := d.token()
	event := Event{Kind: EventOpened, Opening: d.opening(key, r, token, now)}
	rec, err := Step(Record{}, event, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if err := d.ensureLease(ctx); err != nil {
		return nil, err
	}
	if err := d.reserve(); err != nil {
		return nil, err
	}
	h := d.track(rec, rev, token, true)
	newRev, err := d.create(ctx, rec, rev)
	if err != nil {
		d.untrack(h, token, true)
		return nil, err
	}
	// From here on the caller may leave: the hold is the desk's.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err = d.record(ctx, audit.HoldOpened, rec); err == nil {
		d.learn(rec, newRev)
		d.observe(event, rec)
		if d.start(h, false) {
			return &Attachment{d: d, h: h, token: token}, nil
		}
		err = ErrDraining
	}
	d.untrack(h, token, true)
	_ = d.remove(ctx, rec) // best effort
	return nil, err
}

func (d *Desk) opening(key string, r Request, token string, now time.Time) Record {
	s := r.Subject
	s.Requester.Claims = nil
	return Record{
		ID: ID(newID()), Key: key, Digest: r.Digest, Subject: s, Channel: r.Channel, API: r.API, Summary: r.Summary,
		Operations: r.Operations, OwnFactors: d.ownFactors(r), Requirement: *r.Decision.Requirement, Revision: r.Decision.Revision,
		Exchange: r.Exchange, OpenedAt: now, ExpiresAt: now.Add(d.o.Timeout), Resume: d.o.Resume,
		Owner: d.name, Caller: token,
	}
}

// overdue says what the clock alone makes of a hold. A pending one is first left to whoever runs it.
func overdue(r Record, now time.Time) Kind {
	switch {
	case r.State == Approved && lapsed(r, now):
		return EventExpired
	case r.State == Pending && now.After(r.ExpiresAt.Add(pushGrace)):
		return EventTimedOut
	default:
		return EventNone
	}
}
