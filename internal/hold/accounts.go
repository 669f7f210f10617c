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
	"countersign/providers"
)

// accountTime is the longest a provider may take to say whom it would ask.
const accountTime = 15 * time.Second

// accounts are the documents that a push counts in. A person has one for the id and, where the assertion carries it, one
// for the directory object: who is named by UPN today and by e-mail tomorrow is asked no more often for it. The account at
// the provider has one too: two people who are mapped to it have one phone.
type accounts struct {
	person   []string // the id's first
	ceilings []ceiling
}

// ceiling bounds the pushes that were started for an agent or in a tenant.
type ceiling struct {
	key, reason string
	most        int
}

// accountsOf returns the documents of a subject, and those of the accounts that are asked for it.
func (d *Desk) accountsOf(s policy.Subject, asked ...string) accounts {
	q := s.Requester
	a := accounts{person: []string{personKey(q.ID)}}
	if q.ObjectID != "" {
		a.person = append(a.person, objectKey(q.ObjectID))
	}
	for _, key := range asked {
		if !slices.Contains(a.person, key) {
			a.person = append(a.person, key)
		}
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

// accountKeys are the documents of a provider's account. An address and an object are one person's wherever they occur, and
// have the document that they would have as a requester; any other name says something at its provider only.
func accountKeys(provider string, account providers.Person) []string {
	var keys []string
	if account.ObjectID != "" {
		keys = append(keys, objectKey(account.ObjectID))
	}
	switch {
	case strings.Contains(account.ID, "@"):
		keys = append(keys, personKey(account.ID))
	case account.ID != "":
		keys = append(keys, personPrefix+hash("account", provider, strings.ToLower(account.ID)))
	}
	return keys
}

// account finds out which account a candidate would ask, and takes its object's id for the asking, so that nobody else is
// asked if a name moves on meanwhile. An outcome says why there is none; nobody was asked, and nobody is by this provider.
func (d *Desk) account(ctx context.Context, c *candidate) (keys []string, none *providers.Outcome) {
	account := c.user
	v, ok := c.Verifier.(providers.Accounter)
	if !ok && c.Map == nil {
		return nil, nil // the account is the person, who has a document already
	}
	if ok {
		short, cancel := context.WithTimeout(ctx, accountTime)
		defer cancel()
		err := guard(func() (err error) { account, err = v.Account(short, c.user); return err })
		if nobody, ok := errors.AsType[*providers.Unasked](err); ok {
			return nil, &nobody.Outcome
		}
		if err != nil {
			if ctx.Err() == nil {
				d.o.Logger.Warn("hold: provider cannot say whom it would ask", "provider", c.Name, "error", err)
			}
			return nil, &providers.Outcome{Verdict: providers.Unavailable, Detail: "account not known"}
		}
	}
	if keys = accountKeys(c.Name, account); len(keys) == 0 {
		return nil, &providers.Outcome{Verdict: providers.Unavailable, Detail: "account not known"}
	}
	if account.ObjectID != "" {
		c.user.ObjectID, c.user.TenantID = account.ObjectID, account.TenantID
	}
	return keys, nil
}

// affordable answers a *BudgetError if this person may not be pushed now at all, or not by these accounts of theirs.
func (d *Desk) affordable(ctx context.Context, s policy.Subject, asked ...string) error {
	now := time.Now()
	look := func(key string, into any) error {
		e, err := d.o.Ledger.Load(ctx, key)
		if err != nil {
			return ledgerError(err)
		}
		return decodeAccount(e, into)
	}
	accounts := d.accountsOf(s, asked...)
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
func (d *Desk) claim(ctx context.Context, rec Record, a asking) (wait time.Time, at string, err error) {
	accounts := d.accountsOf(rec.Subject, a.accounts...)
	took := a.claimed                                                   // for a provider that asked nobody
	for _, key := range slices.Sorted(slices.Values(accounts.person)) { // of two who want the same, one is first everywhere
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
		undone = d.release(own, rec, asking{accounts: a.accounts, passed: a.passed}, 0)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return wait, at, errors.Join(err, undone)
}

func (d *Desk) claimPerson(ctx context.Context, key string, rec Record, all accounts) (wait time.Time, err error) {
	var blocked *BudgetError
	err = d.insist(ctx, func() error {
		return amend(ctx, d, key, func(p *person) (bool, error) {
			var err error
			wait, err = p.claim(d.o.Budget, rec.ID, rec.ExpiresAt, time.Now())
			isBlocked := false
			if blocked, isBlocked = errors.AsType[*BudgetError](err); isBlocked {
				return p.join(key, all.person), nil // who clears this name clears what blocks it
			}
			if err != nil || !wait.IsZero() {
				return false, err
			}
			p.Who = rec.Subject.Requester.ID
			p.join(key, all.person)
			return true, nil
		})
	})
	if err == nil && blocked != nil {
		err = blocked
	}
	return wait, err
}

// join notes the documents that were seen together with this one, and reports whether any is new.
func (p *person) join(own string, all []string) (changed bool) {
	for _, other := range all {
		if other != own && !slices.Contains(p.Also, other) && len(p.Also) < maxAlso {
			p.Also, changed = append(p.Also, other), true
		}
	}
	return changed
}

// release gives the push back everywhere, with what became of it. Accounts of providers that asked nobody have nothing to count.
func (d *Desk) release(ctx context.Context, rec Record, a asking, ringing time.Duration) error {
	accounts := d.accountsOf(rec.Subject, a.accounts...)
	var problems []error
	for _, key := range a.passed {
		if slices.Contains(accounts.person, key) {
			continue
		}
		problems = append(problems, amend(ctx, d, key, func(p *person) (bool, error) {
			return p.release(d.o.Budget, rec, false, providers.Unavailable, 0, time.Now()), nil
		}))
	}
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
