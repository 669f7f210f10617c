package hold

import (
	"context"
	"errors"
	"time"

	"countersign/providers"
)

// probeTime is the longest a provider may take to say whether it could ask somebody.
const probeTime = 5 * time.Second

// Prospect says who would ask the person behind r, and whether they could be reached now, without asking anybody: somebody
// who is blocked, who has used up the budget or who has nothing to answer with cannot. provider is "" where there is none.
// Errors are the ledger's.
func (d *Desk) Prospect(ctx context.Context, r Request) (provider string, reachable bool, err error) {
	if holdable(r) != nil {
		return "", false, nil //nolint:nilerr // it would be refused: that is the answer
	}
	p, err := d.planFor(d.opening("", r, "", time.Now()))
	if err != nil || len(p.candidates) == 0 {
		return "", false, nil //nolint:nilerr // nobody could ask: that is the answer
	}
	err = d.affordable(ctx, r.Subject)
	if _, blocked := errors.AsType[*BudgetError](err); blocked {
		return p.candidates[0].Name, false, nil
	}
	if err != nil {
		return "", false, err
	}
	for _, c := range p.candidates {
		keys, none := d.account(ctx, &c)
		if none != nil {
			continue
		}
		err := d.affordable(ctx, r.Subject, keys...)
		if _, blocked := errors.AsType[*BudgetError](err); blocked {
			return c.Name, false, nil // and nobody else is asked instead
		}
		if err != nil {
			return "", false, err
		}
		prober, ok := c.Verifier.(providers.Prober)
		if !ok {
			return c.Name, true, nil // it cannot be known before it is tried
		}
		probing, cancel := context.WithTimeout(ctx, probeTime)
		var can bool
		err = guard(func() (err error) { can, err = prober.Reachable(probing, c.user); return err })
		cancel()
		if err != nil {
			d.o.Logger.Warn("hold: provider cannot say whom it reaches", "provider", c.Name, "error", err)
			continue
		}
		if can {
			return c.Name, true, nil
		}
	}
	return p.candidates[0].Name, false, nil
}
