package hold

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"countersign/providers"
)

// asking is what one hold has out at a provider.
type asking struct {
	claimed  bool // the person's one pending push is this hold's
	asked    bool // the person was asked, or may have been
	answered bool // and the provider said how it ended
	verdict  providers.Verdict
	verifier providers.Verifier
	handle   string
	accounts []string // the documents of the account that is asked
	passed   []string // and of those at providers that asked nobody
	expires  time.Time
	by       Named  // whose answer is waited for
	bell     string // the transaction as it is on record
}

// errAsked says that the person has been asked, and that their answer is to be waited for.
var errAsked = errors.New("hold: the person has been asked")

// job is a hold that this desk runs. It is kept apart from the stacks of those who work on it: thousands of people think at
// once, and meanwhile each takes a goroutine that has never done anything else and so is small.
type job struct {
	h      *live
	asking asking
	said   providers.Outcome // with which the wait ended
	next   func()            // lets the following hold for the same person try
	cancel context.CancelCauseFunc
}

// start runs the hold in a goroutine of its own. False: the desk is draining.
func (d *Desk) start(h *live, adopted bool) bool {
	ctx, cancel := context.WithCancelCause(d.base)
	d.mu.Lock()
	h.interrupt = cancel
	if h.memo.state != Pending {
		cancel(errSettled)
	}
	draining := d.draining
	if !draining {
		h.busy = true
		d.armLocked(h, 0)
		j := &job{h: h, next: func() {}, cancel: cancel}
		d.wg.Go(func() { d.begin(ctx, j, adopted) })
	}
	d.mu.Unlock()
	if draining {
		cancel(errStopped)
	}
	return !draining
}

// seen returns the hold as this desk last saw it.
func (d *Desk) seen(h *live) Record {
	d.mu.Lock()
	m := h.memo
	d.mu.Unlock()
	return m.record()
}

// begin sees to it that the person is asked. Where they are, another goroutine waits for the answer.
func (d *Desk) begin(ctx context.Context, j *job, adopted bool) {
	rec := d.seen(j.h)
	var e Event
	var err error
	switch {
	case !adopted:
		e, j.next, err = d.queueAndAsk(ctx, rec, &j.asking)
	case rec.Transaction == "":
		// Which account that was is not on record: its push ends by itself.
		j.asking.claimed, j.asking.asked = true, true // nobody can know how far the owner came: never ask twice
		e = Event{Kind: EventFaulted, Detail: "owner lost"}
	default:
		e, err = d.resumeAsking(rec, &j.asking)
	}
	if errors.Is(err, errAsked) {
		d.wg.Go(func() { d.watch(ctx, j) })
		return
	}
	d.end(ctx, j, e, err)
}

// watch waits for the person. Its frame is to stay small, as those of all that it calls before they return.
func (d *Desk) watch(ctx context.Context, j *job) {
	err := d.wait(ctx, j)
	d.heard(ctx, j, err)
}

// heard ends a hold with what the provider said.
//
//go:noinline
func (d *Desk) heard(ctx context.Context, j *job, err error) {
	var e Event
	switch {
	case err == nil:
		j.asking.answered, j.asking.verdict = true, j.said.Verdict
		e, err = settled(j.said), interrupted(ctx)
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		d.o.Logger.Warn("hold: provider failed", "hold", string(j.h.id), "provider", j.asking.by.Name, "error", err)
		e, err = settled(providers.Outcome{Verdict: providers.Unavailable, Detail: "provider failed"}), nil
	}
	d.end(ctx, j, e, err)
}

// end ends the hold, and lets the next one for the same person try.
func (d *Desk) end(ctx context.Context, j *job, e Event, err error) {
	defer j.cancel(nil)
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		j.h.busy = false
		d.forgetLocked(j.h)
	}()
	defer j.next()
	d.finish(ctx, j.h, d.seen(j.h), j.asking, e, err)
}

// finish ends the person's push, and then the hold. The order matters: who learns of a denial and tries again at once
// must find it counted.
func (d *Desk) finish(ctx context.Context, h *live, rec Record, a asking, e Event, err error) {
	stopped := errors.Is(context.Cause(ctx), errStopped)
	if stopped && d.o.Shared {
		return // it stays, for another desk to go on with
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*insistTime)
	defer cancel()
	var ringing time.Duration
	if a.asked && !a.answered && !d.takeBack(ctx, h, a) {
		ringing = ringTime // the phone may still show it: another push would be the second at once
	}
	late := false
	if a.claimed {
		if err := d.insist(ctx, func() error { return d.release(ctx, rec, a, ringing) }); err != nil {
			d.o.Logger.Error("hold: push budget", "hold", string(h.id), "error", err)
			late = errors.Is(err, ErrLedger)
		}
	}
	blocked, isBlocked := errors.AsType[*BudgetError](err)
	switch {
	case stopped:
		e = Event{Kind: EventWithdrawn, Detail: "stopped"}
	case err == nil:
	case isBlocked:
		e = Event{Kind: EventWithdrawn, Detail: "budget", Blocked: blocked}
	case errors.Is(err, errSettled):
		return
	case errors.Is(err, ErrJournal):
		d.fault(ctx, h, h.key, h.id, err)
		return
	default:
		e = Event{Kind: EventFaulted, Detail: "ledger"}
	}
	if _, err := d.conclude(ctx, h, h.key, h.id, e); err != nil && !errors.Is(err, ErrTransition) {
		d.o.Logger.Error("hold: cannot settle", "hold", string(h.id), "error", err)
		late = late || errors.Is(err, ErrLedger)
	}
	if late && a.answered && (a.verdict == providers.Denied || a.verdict == providers.Fraud) {
		d.finishLater(rec, a, ringing, e)
	}
}

// finishLater goes on with the end of a hold that the ledger did not take in time: a person said no, and that is to be counted, and to
// be in the journal, however long it takes. A late yes is worth nothing, because its caller has been refused.
func (d *Desk) finishLater(rec Record, a asking, ringing time.Duration, e Event) {
	d.spawn(func() {
		ctx, cancel := context.WithTimeout(d.base, budgetDay)
		defer cancel()
		err := repeat(ctx, nil, budgetDay, func() error { return d.release(ctx, rec, a, ringing) })
		if err == nil {
			_, err = d.conclude(ctx, nil, rec.Key, rec.ID, e)
		}
		if err != nil && !errors.Is(err, ErrTransition) && !errors.Is(err, ErrNotFound) {
			d.o.Logger.Error("hold: a denial is not counted", "hold", string(rec.ID), "error", err)
		}
	})
}

// takeBack asks the provider to withdraw a push that nobody waits for any more, and reports whether it did. Best effort: its
// hold has ended.
func (d *Desk) takeBack(ctx context.Context, h *live, a asking) bool {
	c, ok := a.verifier.(providers.Canceler)
	if !ok || a.handle == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, cancelTime)
	defer cancel()
	if err := guard(func() error { return c.Cancel(ctx, a.handle) }); err != nil {
		d.o.Logger.Warn("hold: push not taken back", "hold", string(h.id), "error", err)
		return false
	}
	return true
}

func settled(o providers.Outcome) Event { return Event{Kind: EventSettled, Outcome: o} }

// settledBy is what a provider said without asking anybody.
func settledBy(provider string, o providers.Outcome) Event {
	return Event{Kind: EventSettled, Provider: provider, Outcome: o}
}

// interrupted returns why ctx ended, if it did.
func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// guard turns a panic of foreign code into an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %T at %s", p, firstFrame(debug.Stack())) // the value may hold a secret
		}
	}()
	return f()
}

// firstFrame finds where a panic came from, without its value.
func firstFrame(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "panic(") && i+2 < len(lines) {
			name, _, _ := strings.Cut(lines[i+2], "(")
			return name
		}
	}
	return "unknown"
}
