package hold

import (
	"context"
	"errors"
	"net"
	"net/url"
	"time"

	"countersign/internal/audit"
	"countersign/providers"
)

const maxURL = 2048

// queueAndAsk waits for the person's turn and asks. Whoever can be told at once that nobody is there to ask does not queue.
// next lets the following hold for the same person try, and is never nil.
func (d *Desk) queueAndAsk(ctx context.Context, rec Record, a *asking) (e Event, next func(), err error) {
	next = func() {}
	p, err := d.planFor(rec)
	if err != nil { // it could be met when the hold was opened
		return settled(providers.Outcome{Verdict: providers.Unavailable, Detail: "no provider"}), next, interrupted(ctx)
	}
	if len(p.candidates) == 0 {
		return settled(p.nobody(providers.Outcome{})), next, interrupted(ctx)
	}
	turn, err := d.lineUp(ctx, rec)
	if err != nil {
		return Event{}, next, err
	}
	e, err = d.ask(ctx, rec, p, a)
	return e, turn, err
}

// ask starts the push at the first provider that knows the person; errAsked says that their answer is to be waited for. It goes on to the next provider
// only where it is certain that nobody was asked: not enrolled there, or down before it asked. Whoever is locked out at one
// provider is asked by no other, because somebody may have been guessing. When nobody could ask, the person is not enrolled
// only if every provider said so: one that is down might have known them. For the same reason a provider that lacks what is
// preferred is not asked in place of one that has it and is down.
func (d *Desk) ask(ctx context.Context, rec Record, p plan, a *asking) (Event, error) {
	var absent providers.Outcome
	var absentAt, saidBy string // which provider said so
	down := p.down
	said := providers.Outcome{Verdict: providers.Unavailable, Detail: "provider's map of persons failed"}
	for i, c := range p.candidates {
		if ctx.Err() != nil {
			return Event{}, context.Cause(ctx)
		}
		if !time.Now().Before(rec.ExpiresAt) {
			return Event{}, errSettled // its clock ends it, as soon as the ledger lets it
		}
		if down && i > 0 && c.preferred < p.candidates[i-1].preferred {
			break
		}
		attempt, err := d.askOne(ctx, rec, c, a)
		switch {
		case err != nil && !a.asked:
			return Event{}, err
		case err != nil, attempt.Asked && attempt.Transaction == "":
			// Nobody can know whether the person was asked: nobody else is.
			return settledBy(c.Name, providers.Outcome{Verdict: providers.Unavailable, Detail: "start failed"}), interrupted(ctx)
		case attempt.Asked:
			now, err := d.asked(ctx, rec, c.Name, attempt, a)
			if err != nil {
				return Event{}, err
			}
			d.prompted(now, attempt.Code)
			a.by, a.bell = c.Named, now.Transaction
			return Event{}, errAsked
		}
		switch attempt.Outcome.Verdict {
		case providers.NotEnrolled:
			absent, absentAt = attempt.Outcome, c.Name
		case providers.LockedOut:
			return settledBy(c.Name, attempt.Outcome), interrupted(ctx)
		case providers.Unavailable:
			if !down {
				down, said, saidBy = true, attempt.Outcome, c.Name // the first says the most: it is the one that is preferred
			}
		case providers.Approved, providers.Denied, providers.TimedOut, providers.Fraud:
			// Nobody was asked, so nobody can have said so: the provider is not to be believed.
			return settledBy(c.Name, providers.Outcome{Verdict: providers.Unavailable, Detail: "answer without a question"}), interrupted(ctx)
		default:
			return settledBy(c.Name, providers.Outcome{Verdict: providers.Unavailable, Detail: "unknown verdict"}), interrupted(ctx)
		}
	}
	if down {
		return settledBy(saidBy, said), interrupted(ctx)
	}
	return settledBy(absentAt, p.nobody(absent)), interrupted(ctx)
}

// askOne takes the push of the candidate's account and has the person asked. An error with a.asked says that they may have been; any
// other one that the hold cannot go on.
func (d *Desk) askOne(ctx context.Context, rec Record, c candidate, a *asking) (providers.Attempt, error) {
	keys, none := d.account(ctx, &c)
	if none != nil {
		return providers.Attempt{Outcome: *none}, interrupted(ctx)
	}
	a.passed, a.accounts = append(a.passed, a.accounts...), keys
	if err := d.takePush(ctx, rec, a); err != nil {
		return providers.Attempt{}, err
	}
	if ctx.Err() != nil {
		return providers.Attempt{}, context.Cause(ctx)
	}
	if !time.Now().Before(rec.ExpiresAt) {
		return providers.Attempt{}, errSettled
	}
	a.expires = d.limit(rec, c.Named)
	d.announce(rec, c.Name, a.expires)
	attempt, err := d.startPush(ctx, c, challenge(rec, c.user, a.expires))
	if err != nil || attempt.Asked {
		a.asked, a.verifier, a.handle = true, c.Verifier, attempt.Transaction
	}
	return attempt, err
}

// limit is when the hold ends if that verifier asks: the shorter of both limits.
func (d *Desk) limit(rec Record, v Named) time.Time {
	expires := rec.ExpiresAt
	if l, ok := v.Verifier.(providers.Limiter); ok {
		if end := time.Now().Add(l.Limit()); l.Limit() > 0 && end.Before(expires) {
			expires = end
		}
	}
	return expires
}

// announce tells observers who is about to be asked, where and for how long, so that the person can be told before the
// push arrives.
func (d *Desk) announce(rec Record, provider string, expires time.Time) {
	rec.Provider, rec.ExpiresAt = provider, expires
	d.observe(Event{Kind: EventAsking, Provider: provider, ExpiresAt: expires}, rec)
}

// asked writes down that the person has been asked, journal first.
func (d *Desk) asked(ctx context.Context, rec Record, provider string, attempt providers.Attempt, a *asking) (Record, error) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), insistTime)
	defer cancel()
	e := Event{
		Kind: EventAsked, Provider: provider, Transaction: attempt.Transaction, ExpiresAt: a.expires, PromptURL: d.page(rec, attempt.URL),
		Accounts: a.accounts,
	}
	rec.Provider, rec.Transaction = provider, attempt.Transaction
	if err := d.record(own, audit.HoldAsked, rec); err != nil {
		return rec, err
	}
	now := rec
	err := d.insist(own, func() (err error) {
		now, err = d.change(own, rec.Key, rec.ID, e, time.Time{})
		return err
	})
	switch {
	case errors.Is(err, ErrTransition) && now.State == Pending && now.Transaction == attempt.Transaction:
		d.observe(e, now) // a Store that seemed to fail had happened
		return now, nil
	case errors.Is(err, ErrTransition), errors.Is(err, ErrNotFound):
		return rec, errSettled
	default:
		return now, err
	}
}

// page is the address that a provider gave, if it is fit to be passed on.
func (d *Desk) page(rec Record, address string) string {
	if address == "" {
		return ""
	}
	u, err := url.Parse(address)
	if err != nil || len(address) > maxURL || !reachable(u) || u.User != nil || clean(address, maxURL) != address {
		d.o.Logger.Error("hold: provider's page is no address that can be shown", "hold", string(rec.ID))
		return ""
	}
	return address
}

// reachable takes https, and plain http only to this machine: a demonstration without a certificate.
func reachable(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Host != "" && (u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()))
}

// prompted passes on what the person needs to answer.
func (d *Desk) prompted(rec Record, code string) {
	if rec.PromptURL == "" && code == "" {
		return
	}
	if d.o.Prompted == nil {
		if code != "" {
			d.o.Logger.Warn("hold: a code has to be typed, and nobody shows it", "hold", string(rec.ID), "provider", rec.Provider)
		}
		return
	}
	if err := guard(func() error { d.o.Prompted(rec, rec.PromptURL, code); return nil }); err != nil {
		d.o.Logger.Error("hold: prompt not passed on", "hold", string(rec.ID), "error", err)
	}
}

func (d *Desk) resumeAsking(rec Record, a *asking) (Event, error) {
	a.claimed, a.asked, a.handle, a.bell, a.accounts = true, true, rec.Transaction, rec.Transaction, rec.Accounts
	for _, v := range d.o.Verifiers {
		if v.Name == rec.Provider {
			a.verifier, a.by = v.Verifier, v
			return Event{}, errAsked
		}
	}
	return Event{Kind: EventFaulted, Detail: "provider not configured here"}, nil
}

// wait waits for the person's answer and leaves it in j.said.
func (d *Desk) wait(ctx context.Context, j *job) error {
	defer d.expect(ctx, j.h.id, j.asking.bell, j.asking.by)()
	return guard(func() (err error) {
		j.said, err = j.asking.by.Verifier.Wait(ctx, j.asking.handle)
		return err
	})
}

func (d *Desk) startPush(ctx context.Context, v candidate, c providers.Challenge) (providers.Attempt, error) {
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
