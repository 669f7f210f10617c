package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"time"

	"countersign/providers"
)

const (
	maxTitle  = 200
	maxFields = 24
	maxName   = 60
	maxValue  = 300
	maxCode   = 16
	startTime = 15 * time.Second // to reach the OpenID provider before anybody is asked
)

// Start writes down the question and returns the address of its page. It reaches nobody by itself: whoever tells the
// requester passes the address on.
func (v *Verifier) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	if err := ctx.Err(); err != nil {
		return providers.Attempt{}, err
	}
	person, why := v.person(ctx, c.Person)
	if why != "" {
		if err := ctx.Err(); err != nil {
			return providers.Attempt{}, err
		}
		return notAsked(why), nil
	}
	reach, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if _, err := v.op.provider(reach); err != nil {
		if err := ctx.Err(); err != nil {
			return providers.Attempt{}, err
		}
		v.log.Warn("signin: sign-in service not reachable", slog.String("hold", short(c.HoldID)), slog.Any("error", err))
		return notAsked("sign-in service not reachable"), nil
	}
	now := v.o.Now()
	expires := now.Add(limit)
	if !c.ExpiresAt.IsZero() && c.ExpiresAt.Before(expires) {
		expires = c.ExpiresAt
	}
	if !now.Before(expires) {
		return notAsked("no time left"), nil
	}
	r := &record{
		Hold: clean(c.HoldID, maxName), Person: person, Title: clean(c.Title, maxTitle), Fields: fields(c.Fields),
		Code: clean(c.Code, maxCode), Asked: now.UTC(), Expires: expires.UTC(), Key: make([]byte, sha256.Size),
	}
	_, _ = rand.Read(r.Key) // never fails
	transaction := newTransaction()
	if err := v.store(ctx, transaction, r, 0); err != nil {
		if err := ctx.Err(); err != nil {
			return providers.Attempt{}, err
		}
		// Nobody has the address, so nobody was asked, even if it was stored.
		v.log.Warn("signin: question not stored", slog.String("hold", short(c.HoldID)), slog.Any("error", err))
		return notAsked("question not stored"), nil
	}
	return providers.Attempt{Asked: true, Transaction: transaction, URL: v.url(transaction)}, nil
}

func notAsked(detail string) providers.Attempt {
	return providers.Attempt{Outcome: providers.Outcome{Verdict: providers.Unavailable, Detail: detail}}
}

// person returns who is asked, with the immutable id to insist on, or why nobody can be. A name is never compared: names
// are given to somebody else one day.
func (v *Verifier) person(ctx context.Context, p providers.Person) (providers.Person, string) {
	if p.ID == "" || clean(p.ID, 255) != p.ID {
		return p, "nobody named"
	}
	if p.TenantID == "" {
		p.TenantID = v.o.TenantID
	}
	if (p.ObjectID == "" || p.TenantID == "") && v.o.Resolve != nil {
		found, err := v.o.Resolve(ctx, p)
		if err != nil {
			v.log.Warn("signin: person not resolved", slog.Any("error", err))
			return p, "person not resolved"
		}
		p.ObjectID, p.TenantID = found.ObjectID, found.TenantID
	}
	if !guidShape.MatchString(p.ObjectID) || !guidShape.MatchString(p.TenantID) {
		return p, "no immutable id"
	}
	p.ObjectID, p.TenantID = strings.ToLower(p.ObjectID), strings.ToLower(p.TenantID)
	if v.o.TenantID != "" && p.TenantID != v.o.TenantID {
		return p, "person of another tenant"
	}
	return p, ""
}

// fields makes what the page shows fit for it.
func fields(in []providers.Field) []providers.Field {
	var out []providers.Field
	for _, f := range in[:min(len(in), maxFields)] {
		f = providers.Field{Name: clean(f.Name, maxName), Value: clean(f.Value, maxValue)}
		if f.Value != "" {
			out = append(out, f)
		}
	}
	if len(in) > maxFields {
		out = append(out, providers.Field{Name: "Not shown", Value: "There is more than fits on this page."})
	}
	return out
}

// Wait returns the answer once there is one. When the time is over, it closes the question, so that a late answer is none.
func (v *Verifier) Wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	failures := 0
	for {
		r, _, err := v.load(ctx, transaction)
		switch {
		case ctx.Err() != nil:
			return providers.Outcome{}, ctx.Err()
		case errors.Is(err, errNoQuestion):
			return providers.Outcome{Verdict: providers.Unavailable, Detail: "unknown transaction"}, nil
		case err != nil:
			// A store that is away for a moment must not cost the person their answer.
			if failures++; failures >= 30 {
				return providers.Outcome{}, err
			}
		case r.Outcome != nil:
			return r.Outcome.public(), nil
		case !v.o.Now().Before(r.Expires):
			return v.expire(ctx, transaction)
		default:
			failures = 0
		}
		next := time.NewTimer(pollEvery)
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return providers.Outcome{}, ctx.Err()
		}
	}
}

// expire writes down that nobody answered. Where somebody tried and it was not they who failed, the outcome says so.
func (v *Verifier) expire(ctx context.Context, transaction string) (providers.Outcome, error) {
	r, err := v.change(ctx, transaction, func(r *record) error {
		if r.Outcome != nil {
			return errClosed
		}
		o := outcome{Verdict: providers.TimedOut, At: v.o.Now().UTC(), Detail: "no answer"}
		if r.OurFault {
			o.Verdict = providers.Unavailable
		}
		if r.Trouble != "" {
			o.Detail = r.Trouble
		}
		r.Outcome = &o
		return nil
	})
	if err != nil && !errors.Is(err, errClosed) {
		return providers.Outcome{}, err
	}
	return r.Outcome.public(), nil
}

// Cancel closes a question that nobody waits for any more, so that its page says so.
func (v *Verifier) Cancel(ctx context.Context, transaction string) error {
	_, err := v.settle(ctx, transaction, outcome{Verdict: providers.Unavailable, At: v.o.Now().UTC(), Detail: withdrawn})
	if errors.Is(err, errClosed) {
		return nil
	}
	return err
}

// withdrawn is the detail of a question that was taken back.
const withdrawn = "withdrawn"
