package hold

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/policy"
)

// accounts are the documents that a push counts in. A person has one for the id and, where the assertion carries it, one
// for the directory object: who is named by UPN today and by e-mail tomorrow is asked no more often for it.
type accounts struct {
	person   []string
	ceilings []ceiling
}

// ceiling bounds the pushes that were started for an agent or in a tenant.
type ceiling struct {
	key, reason string
	most        int
}

func (d *Desk) accountsOf(s policy.Subject) accounts {
	q := s.Requester
	a := accounts{person: []string{personKey(q.ID)}}
	if q.ObjectID != "" {
		a.person = append(a.person, personPrefix+hash("object", strings.ToLower(q.ObjectID)))
	}
	tenant := strings.ToLower(q.TenantID)
	if tenant == "" {
		tenant = domainOf(q.ID)
	}
	// Each is one document that every push of the agent or in the tenant changes, so nobody pays for one that is not wanted.
	if most := d.o.Budget.PerAgent15m; most > 0 {
		a.ceilings = append(a.ceilings, ceiling{agentPrefix + hash(s.Agent), "per_agent", most})
	}
	if most := d.o.Budget.PerTenant15m; most > 0 {
		a.ceilings = append(a.ceilings, ceiling{tenantPrefix + hash(tenant), "per_tenant", most})
	}
	return a
}

// affordable answers a *BudgetError if this person may not be pushed now at all.
func (d *Desk) affordable(ctx context.Context, s policy.Subject) error {
	now := time.Now()
	look := func(key string, into any) error {
		e, err := d.o.Ledger.Load(ctx, key)
		if err != nil {
			return ledgerError(err)
		}
		return decodeAccount(e, into)
	}
	accounts := d.accountsOf(s)
	for _, key := range accounts.person {
		var p person
		if err := look(key, &p); err != nil {
			return err
		}
		if blocked := p.check(d.o.Budget, now); blocked != nil {
			return blocked
		}
	}
	for _, c := range accounts.ceilings {
		var w window
		if err := look(c.key, &w); err != nil {
			return err
		}
		if blocked := w.check(c, now); blocked != nil {
			return blocked
		}
	}
	return nil
}

// claim takes the push if it is free everywhere. Otherwise it returns until when to wait for a change of which document, or
// a *BudgetError, and what it took already is given back. ErrLedger among the errors says that some of it may still be taken.
func (d *Desk) claim(ctx context.Context, rec Record) (wait time.Time, at string, err error) {
	accounts := d.accountsOf(rec.Subject)
	took := false
	for _, key := range accounts.person {
		if wait, err = d.claimPerson(ctx, key, rec, accounts); err != nil || !wait.IsZero() {
			at = key
			break
		}
		took = true
	}
	for _, c := range accounts.ceilings {
		if err != nil || !wait.IsZero() {
			break
		}
		err = d.insist(ctx, func() error {
			return amend(ctx, d, c.key, func(w *window) (bool, error) { return w.claim(c, rec.ID, time.Now()) })
		})
	}
	if err == nil && wait.IsZero() {
		return wait, at, nil
	}
	var undone error
	if took || errors.Is(err, ErrLedger) { // a Store that seemed to fail may have happened
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
		defer cancel()
		undone = d.release(own, rec, asking{}, 0)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return wait, at, errors.Join(err, undone)
}

func (d *Desk) claimPerson(ctx context.Context, key string, rec Record, all accounts) (wait time.Time, err error) {
	err = d.insist(ctx, func() error {
		return amend(ctx, d, key, func(p *person) (bool, error) {
			var err error
			if wait, err = p.claim(d.o.Budget, rec.ID, rec.ExpiresAt, time.Now()); err != nil || !wait.IsZero() {
				return false, err
			}
			p.Who = rec.Subject.Requester.ID
			for _, other := range all.person {
				if other != key && !slices.Contains(p.Also, other) && len(p.Also) < maxAlso {
					p.Also = append(p.Also, other)
				}
			}
			return true, nil
		})
	})
	return wait, err
}

// release gives the push back everywhere, with what became of it.
func (d *Desk) release(ctx context.Context, rec Record, a asking, ringing time.Duration) error {
	accounts := d.accountsOf(rec.Subject)
	var problems []error
	for _, key := range accounts.person {
		problems = append(problems, amend(ctx, d, key, func(p *person) (bool, error) {
			return p.release(d.o.Budget, rec, a.asked, a.verdict, ringing, time.Now()), nil
		}))
	}
	for _, c := range accounts.ceilings {
		if a.asked {
			break // it was started, and that is what counts
		}
		problems = append(problems, amend(ctx, d, c.key, func(w *window) (bool, error) { return w.drop(rec.ID), nil }))
	}
	return errors.Join(problems...)
}

// account is a document that pushes count in.
type account[T any] interface {
	*T
	ttl() time.Duration
}

// amend changes one account by compare-and-set. f says whether there is anything to store.
func amend[T any, P account[T]](ctx context.Context, d *Desk, key string, f func(P) (bool, error)) error {
	for range maxTries {
		e, err := d.o.Ledger.Load(ctx, key)
		if err != nil {
			return ledgerError(err)
		}
		var doc T
		if err := decodeAccount(e, &doc); err != nil {
			return err
		}
		if store, err := f(&doc); err != nil || !store {
			return err
		}
		if e.Value, err = json.Marshal(doc); err != nil {
			return fmt.Errorf("encode account: %w", err)
		}
		e.TTL = P(&doc).ttl()
		if _, err = d.o.Ledger.Store(ctx, e); err == nil {
			return nil
		}
		if err = ledgerError(err); !errors.Is(err, ErrStale) {
			return err
		}
	}
	return fmt.Errorf("%w: contention", ErrLedger)
}

func decodeAccount(e Entry, into any) error {
	if e.Value == nil {
		return nil
	}
	if err := json.Unmarshal(e.Value, into); err != nil {
		return fmt.Errorf("%w: account document: %w", ErrLedger, err)
	}
	return nil
}
