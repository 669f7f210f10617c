package hold

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// Block is a person who may not be pushed now, and why.
type Block struct {
	Person string    `json:"person"` // the requester's id
	Reason string    `json:"reason"` // as in BudgetError
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"` // zero: until an operator clears it
	Hold   ID        `json:"hold,omitempty"` // the newest that was denied or reported as fraud, with who asked and for which ticket
	Agent  string    `json:"agent,omitempty"`
	Ticket string    `json:"ticket,omitempty"`
}

// Blocked returns the persons who may not be pushed now: after a fraud report, in a cool-off or with their budget used up.
// Fraud reports come first, then the newest.
func (d *Desk) Blocked(ctx context.Context) ([]Block, error) {
	byPerson := map[string]Block{}
	now := time.Now()
	err := d.eachPerson(ctx, func(_ string, p person) {
		why := p.check(d.o.Budget, now)
		if why == nil {
			return
		}
		b := Block{Person: p.Who, Reason: why.Reason, Until: why.Until}
		switch why.Reason {
		case "fraud", "cooloff":
			b.Since, b.Hold, b.Agent, b.Ticket = p.Last.At, p.Last.Hold, p.Last.Agent, p.Last.Ticket
		default:
			if n := len(p.Pushes); n > 0 {
				b.Since = p.Pushes[n-1].At
			}
		}
		name := strings.ToLower(p.Who)
		if known, ok := byPerson[name]; !ok || compareBlocks(b, known) < 0 { // one of the person's two documents
			byPerson[name] = b
		}
	})
	if err != nil {
		return nil, err
	}
	out := make([]Block, 0, len(byPerson))
	for _, b := range byPerson {
		out = append(out, b)
	}
	slices.SortFunc(out, compareBlocks)
	return out, nil
}

func compareBlocks(a, b Block) int {
	return cmp.Or(compareBool(b.Reason == "fraud", a.Reason == "fraud"), b.Since.Compare(a.Since), cmp.Compare(a.Person, b.Person))
}

// Clear lifts what blocks pushes to a person, a fraud report included, under every name that was seen together with this
// one. It is for an operator.
func (d *Desk) Clear(ctx context.Context, id string) error {
	keys := map[string]bool{personKey(id): true}
	for range 2 { // a name may be joined to this one by a third
		err := d.eachPerson(ctx, func(key string, p person) {
			if keys[key] || strings.EqualFold(p.Who, id) || slices.ContainsFunc(p.Also, func(k string) bool { return keys[k] }) {
				keys[key] = true
				for _, k := range p.Also {
					keys[k] = true
				}
			}
		})
		if err != nil {
			return err
		}
	}
	for key := range keys {
		if err := amend(ctx, d, key, clearPerson); err != nil {
			return err
		}
	}
	return nil
}

func clearPerson(p *person) (bool, error) {
	now := time.Now()
	if p.Who == "" && len(p.Pushes) == 0 {
		return false, nil // there is none
	}
	pending := p.Pushes[:0:0]
	for _, u := range p.Pushes {
		if u.pending(now) {
			pending = append(pending, u)
		}
	}
	*p = person{Pushes: pending, NextAt: p.NextAt, Who: p.Who, Also: p.Also}
	return true, nil
}

// eachPerson reads every person's documents.
func (d *Desk) eachPerson(ctx context.Context, f func(key string, p person)) error {
	for e, err := range d.o.Ledger.Watch(ctx, personPrefix) {
		if err != nil {
			return ledgerError(err)
		}
		if e.Key == "" {
			return nil
		}
		var p person
		if err := decodeAccount(e, &p); err != nil {
			return err
		}
		f(e.Key, p)
	}
	return ctx.Err()
}
