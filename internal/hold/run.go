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
}

// start runs the hold in a goroutine of its own. False: the desk is draining.
func (d *Desk) start(h *live, adopted bool) bool {
	ctx, cancel := context.WithCancelCause(d.base)
	d.mu.Lock()
	h.interrupt = cancel
	if h.rec.State != Pending {
		cancel(errSettled)
	}
	draining := d.draining
	if !draining {
		h.busy = true
		d.armLocked(h, 0)
		d.wg.Go(func() {
			defer cancel(nil)
			d.run(ctx, h, adopted)
		})
	}
	d.mu.Unlock()
	if draining {
		cancel(errStopped)
	}
	return !draining
}

func (d *Desk) run(ctx context.Context, h *live, adopted bool) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		h.busy = false
		d.forgetLocked(h)
	}()
	d.mu.Lock()
	rec := h.rec
	d.mu.Unlock()
	var a asking
	var e Event
	var err error
	switch {
	case !adopted:
		var next func()
		e, next, err = d.queueAndAsk(ctx, rec, &a)
		defer next()
	case rec.Transaction == "":
		a.claimed, a.asked = true, true // nobody can know how far the owner came: never ask twice
		e = Event{Kind: EventFaulted, Detail: "owner lost"}
	default:
		e, err = d.resumeAsking(ctx, rec, &a)
	}
	d.finish(ctx, h, rec, a, e, err)
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
	if a.claimed {
		if err := d.insist(ctx, func() error { return d.release(ctx, rec, a, ringing) }); err != nil {
			d.o.Logger.Error("hold: push budget", "hold", string(h.id), "error", err)
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
	}
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
