package hold

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"countersign/internal/audit"
	"countersign/policy"
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
	person := personKey(rec.Subject.Requester.ID)
	var a asking
	var e Event
	var err error
	switch {
	case !adopted:
		var next func()
		if next, err = d.queue(ctx, person, rec, &a); err == nil {
			defer next()
			e, err = d.ask(ctx, rec, &a)
		}
	case rec.Transaction == "":
		a.claimed, a.asked = true, true // nobody can know how far the owner came: never ask twice
		e = Event{Kind: EventFaulted, Detail: "owner lost"}
	default:
		e, err = d.resumeAsking(ctx, rec, &a)
	}
	d.finish(ctx, h, person, a, e, err)
}

// finish ends the person's push, and then the hold. The order matters: who learns of a denial and tries again at once
// must find it counted.
func (d *Desk) finish(ctx context.Context, h *live, person string, a asking, e Event, err error) {
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
		if err := d.insist(ctx, func() error { return d.release(ctx, person, h.id, a, ringing) }); err != nil {
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

// choose returns the verifiers that could meet the requirement, in order of preference.
func (d *Desk) choose(r policy.Requirement) ([]Named, error) {
	var out []Named
	for _, v := range d.o.Verifiers {
		if len(r.Providers) > 0 && !slices.Contains(r.Providers, v.Name) {
			continue
		}
		var can []string
		if c, ok := v.Verifier.(providers.Capable); ok {
			can = c.Capabilities()
		}
		missing := func(want string) bool { return !slices.Contains(can, want) }
		if !slices.ContainsFunc(r.Capabilities, missing) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoProvider
	}
	return out, nil
}

// ask starts the push at the first provider that knows the person and waits for the answer. It goes on to the next
// provider only where it is certain that nobody was asked.
func (d *Desk) ask(ctx context.Context, rec Record, a *asking) (Event, error) {
	candidates, err := d.choose(rec.Requirement)
	if err != nil {
		return Event{}, err
	}
	final := providers.Outcome{Verdict: providers.Unavailable}
	for _, v := range candidates {
		if ctx.Err() != nil {
			return Event{}, context.Cause(ctx)
		}
		expires := rec.ExpiresAt
		if l, ok := v.Verifier.(providers.Limiter); ok {
			if end := time.Now().Add(l.Limit()); l.Limit() > 0 && end.Before(expires) {
				expires = end
			}
		}
		attempt, err := d.startPush(ctx, v, challenge(rec, expires))
		switch {
		case err != nil, attempt.Asked && attempt.Transaction == "":
			// Nobody can know whether the person was asked: nobody else is.
			a.asked, a.verifier, a.handle = true, v.Verifier, attempt.Transaction
			return settled(providers.Outcome{Verdict: providers.Unavailable, Detail: "start failed"}), interrupted(ctx)
		case attempt.Asked:
			a.asked, a.verifier, a.handle = true, v.Verifier, attempt.Transaction
			if err := d.asked(ctx, rec, v.Name, attempt.Transaction, expires); err != nil {
				return Event{}, err
			}
			return d.wait(ctx, rec, v, a)
		}
		switch attempt.Outcome.Verdict {
		case providers.NotEnrolled:
			if final.Verdict != providers.NotEnrolled {
				final = attempt.Outcome
			}
		case providers.LockedOut:
			return settled(attempt.Outcome), interrupted(ctx)
		case providers.Unavailable:
			if final.Verdict == providers.Unavailable {
				final = attempt.Outcome
			}
		case providers.Approved, providers.Denied, providers.TimedOut, providers.Fraud:
			// Nobody was asked, so nobody can have said so: the provider is not to be believed.
			return settled(providers.Outcome{Verdict: providers.Unavailable, Detail: "answer without a question"}), interrupted(ctx)
		default:
			return settled(providers.Outcome{Verdict: providers.Unavailable, Detail: "unknown verdict"}), interrupted(ctx)
		}
	}
	return settled(final), interrupted(ctx)
}

// asked writes down that the person has been asked, journal first.
func (d *Desk) asked(ctx context.Context, rec Record, provider, transaction string, expires time.Time) error {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), insistTime)
	defer cancel()
	e := Event{Kind: EventAsked, Provider: provider, Transaction: transaction, ExpiresAt: expires}
	rec.Provider, rec.Transaction = provider, transaction
	if err := d.record(own, audit.HoldAsked, rec); err != nil {
		return err
	}
	err := d.insist(own, func() error {
		_, err := d.change(own, rec.Key, rec.ID, e, time.Time{})
		return err
	})
	if errors.Is(err, ErrTransition) || errors.Is(err, ErrNotFound) {
		return errSettled
	}
	return err
}

func (d *Desk) resumeAsking(ctx context.Context, rec Record, a *asking) (Event, error) {
	a.claimed, a.asked, a.handle = true, true, rec.Transaction
	for _, v := range d.o.Verifiers {
		if v.Name == rec.Provider {
			a.verifier = v.Verifier
			return d.wait(ctx, rec, v, a)
		}
	}
	return Event{Kind: EventFaulted, Detail: "provider not configured here"}, nil
}

func (d *Desk) wait(ctx context.Context, rec Record, v Named, a *asking) (Event, error) {
	var out providers.Outcome
	err := guard(func() (err error) {
		out, err = v.Verifier.Wait(ctx, a.handle)
		return err
	})
	if err != nil {
		if ctx.Err() != nil {
			return Event{}, context.Cause(ctx)
		}
		d.o.Logger.Warn("hold: provider failed", "hold", string(rec.ID), "provider", v.Name, "error", err)
		return settled(providers.Outcome{Verdict: providers.Unavailable, Detail: "provider failed"}), nil
	}
	a.answered, a.verdict = true, out.Verdict
	return settled(out), interrupted(ctx)
}

func (d *Desk) startPush(ctx context.Context, v Named, c providers.Challenge) (providers.Attempt, error) {
	var attempt providers.Attempt
	err := guard(func() (err error) {
		attempt, err = v.Verifier.Start(ctx, c)
		return err
	})
	if err != nil && ctx.Err() == nil {
		d.o.Logger.Warn("hold: provider could not start", "hold", c.HoldID, "provider", v.Name, "error", err)
	}
	return attempt, err
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
