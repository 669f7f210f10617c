package hold

import (
	"context"
	"errors"
	"time"

	"countersign/providers"
)

// probeTime is the longest a provider may take to say whether it could ask somebody.
const probeTime = 5 * time.Second

// Outlook answers Prospect for the steps of one plan, and asks each provider about a person once: the steps are of one moment.
// It is for one goroutine.
type Outlook struct {
	d    *Desk
	seen map[string]reach
}

// reach is what a provider can do about a person.
type reach uint8

const (
	outOfReach reach = iota
	inReach
	barred // it may not push them now, and nobody else is asked instead
)

// Outlook returns one that knows nothing yet.
func (d *Desk) Outlook() *Outlook { return &Outlook{d: d, seen: map[string]reach{}} }

// Prospect says who would ask the person behind r, and whether they could be reached now, without asking anybody: somebody
// who is blocked, who has used up the budget or who has nothing to answer with cannot. provider is "" where there is none.
// Errors are the ledger's.
func (d *Desk) Prospect(ctx context.Context, r Request) (provider string, can bool, err error) {
	return d.Outlook().Prospect(ctx, r)
}

// Prospect is the desk's.
func (o *Outlook) Prospect(ctx context.Context, r Request) (provider string, can bool, err error) {
	if holdable(r) != nil {
		return "", false, nil //nolint:nilerr // it would be refused: that is the answer
	}
	p, err := o.d.planFor(o.d.opening("", r, "", time.Now()))
	if err != nil || len(p.candidates) == 0 {
		return "", false, nil //nolint:nilerr // nobody could ask: that is the answer
	}
	for _, c := range p.candidates {
		q := r.Subject.Requester
		key := hash(c.Name, q.ID, q.ObjectID, q.TenantID, q.Email, r.Subject.Agent)
		found, known := o.seen[key]
		if !known {
			if found, err = o.d.reaches(ctx, r, c); err != nil {
				return "", false, err
			}
			o.seen[key] = found
		}
		if found != outOfReach {
			return c.Name, found == inReach, nil
		}
	}
	return p.candidates[0].Name, false, nil
}

// reaches finds out whether a candidate could be used.
func (d *Desk) reaches(ctx context.Context, r Request, c candidate) (reach, error) {
	err := d.affordable(ctx, r.Subject)
	var keys []string
	if err == nil {
		var none *providers.Outcome
		if keys, none = d.account(ctx, &c); none != nil {
			return outOfReach, nil
		}
		if len(keys) > 0 {
			err = d.affordable(ctx, r.Subject, keys...)
		}
	}
	if _, blocked := errors.AsType[*BudgetError](err); blocked {
		return barred, nil
	}
	if err != nil {
		return outOfReach, err
	}
	prober, ok := c.Verifier.(providers.Prober)
	if !ok {
		return inReach, nil // it cannot be known before it is tried
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	can := false
	err = guard(func() (err error) { can, err = prober.Reachable(ctx, c.user); return err })
	if err != nil {
		d.o.Logger.Warn("hold: provider cannot say whom it reaches", "provider", c.Name, "error", err)
	}
	if err != nil || !can {
		return outOfReach, nil //nolint:nilerr // as far as anybody can tell
	}
	return inReach, nil
}
