package hold

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"countersign/providers"
)

// Budget bounds what one person is asked, over all their holds and on all replicas, so that nobody can be worn down by
// pushes (invariant I10). A zero field takes the default that its comment names; there is no unlimited.
type Budget struct {
	Interval           time.Duration // 10s: between a push's end and the next push
	Per15m             int           // 5: pushes in 15 minutes that were not approved
	PerDay             int           // 30: pushes in 24 hours
	Denials            int           // 2: denials in 15 minutes that start a cool-off
	CooloffAfterDenial time.Duration // 15m: how long it lasts
}

const (
	budgetWindow = 15 * time.Minute
	budgetDay    = 24 * time.Hour
	maxPerDay    = 1000 // what fits a ledger document
	// pushGrace is how long after its hold's end a push counts as pending if nobody said that it ended: its owner is gone.
	pushGrace = 30 * time.Second
)

func (b Budget) withDefaults() (Budget, error) {
	if b.Interval < 0 || b.Per15m < 0 || b.PerDay < 0 || b.Denials < 0 || b.CooloffAfterDenial < 0 {
		return b, errors.New("hold: negative push budget")
	}
	if b.PerDay > maxPerDay || b.Per15m > maxPerDay || b.Denials > maxPerDay {
		return b, fmt.Errorf("hold: push budget above %d", maxPerDay)
	}
	if b.Interval == 0 {
		b.Interval = 10 * time.Second
	}
	if b.Per15m == 0 {
		b.Per15m = 5
	}
	if b.PerDay == 0 {
		b.PerDay = 30
	}
	if b.Denials == 0 {
		b.Denials = 2
	}
	if b.CooloffAfterDenial == 0 {
		b.CooloffAfterDenial = 15 * time.Minute
	}
	return b, nil
}

// person is one person's budget document.
type person struct {
	Pushes       []push      `json:"pushes,omitempty"` // of the last 24 hours, oldest first
	Denials      []time.Time `json:"denials,omitempty"`
	CooloffUntil time.Time   `json:"cooloff_until,omitzero"`
	Fraud        bool        `json:"fraud,omitempty"` // until an operator clears it
	NextAt       time.Time   `json:"next_at,omitzero"`
}

type push struct {
	Hold     ID        `json:"hold"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"` // while it is pending; zero: it has ended
	Approved bool      `json:"approved,omitempty"`
}

func (p push) pending(now time.Time) bool { return !p.Until.IsZero() && now.Before(p.Until) }

// prune drops what counts no more.
func (p *person) prune(now time.Time) {
	keep := p.Pushes[:0:0]
	for _, u := range p.Pushes {
		if now.Sub(u.At) < budgetDay || u.pending(now) {
			keep = append(keep, u)
		}
	}
	denials := p.Denials[:0:0]
	for _, at := range p.Denials {
		if now.Sub(at) < budgetWindow {
			denials = append(denials, at)
		}
	}
	p.Pushes, p.Denials = keep, denials
}

// check answers why this person may not be pushed at all now; nil: they may, though perhaps after a wait.
func (p *person) check(b Budget, now time.Time) *BudgetError {
	p.prune(now)
	if p.Fraud {
		return &BudgetError{Reason: "fraud"}
	}
	if now.Before(p.CooloffUntil) {
		return &BudgetError{Reason: "cooloff", Until: p.CooloffUntil}
	}
	if n := len(p.Pushes); n >= b.PerDay {
		return &BudgetError{Reason: "per_day", Until: p.Pushes[n-b.PerDay].At.Add(budgetDay)}
	}
	var refused []time.Time
	for _, u := range p.Pushes {
		if !u.Approved && !u.pending(now) && now.Sub(u.At) < budgetWindow {
			refused = append(refused, u.At)
		}
	}
	if n := len(refused); n >= b.Per15m {
		return &BudgetError{Reason: "per_15m", Until: refused[n-b.Per15m].Add(budgetWindow)}
	}
	return nil
}

// claim takes the person's one pending push for a hold that ends at expires. If it must wait, it says until when at most.
func (p *person) claim(b Budget, id ID, expires, now time.Time) (wait time.Time, err error) {
	p.prune(now)
	for _, u := range p.Pushes {
		if u.pending(now) {
			if u.Hold == id {
				return time.Time{}, nil // a Store that seemed to fail had happened
			}
			wait = u.Until
		}
	}
	if !wait.IsZero() {
		return wait, nil
	}
	if blocked := p.check(b, now); blocked != nil {
		return time.Time{}, blocked
	}
	if now.Before(p.NextAt) {
		return p.NextAt, nil
	}
	p.Pushes = append(p.Pushes, push{Hold: id, At: now, Until: expires.Add(pushGrace)})
	return time.Time{}, nil
}

// release ends the push of a hold. Where nobody was asked, it counts for nothing. ringing is how long the phone may go on
// showing it all the same; no other push is sent meanwhile.
func (p *person) release(b Budget, id ID, asked bool, v providers.Verdict, ringing time.Duration, now time.Time) {
	p.prune(now)
	keep := p.Pushes[:0:0]
	for _, u := range p.Pushes {
		if u.Hold == id && !u.Until.IsZero() {
			if !asked {
				continue
			}
			u.Until, u.Approved = time.Time{}, v == providers.Approved
			p.NextAt = now.Add(max(b.Interval, ringing))
		}
		keep = append(keep, u)
	}
	p.Pushes = keep
	if !asked {
		return
	}
	switch v {
	case providers.Denied:
		p.Denials = append(p.Denials, now)
		if len(p.Denials) >= b.Denials {
			p.CooloffUntil = now.Add(b.CooloffAfterDenial)
		}
	case providers.Fraud:
		p.Fraud = true
	case providers.Approved, providers.TimedOut, providers.NotEnrolled, providers.LockedOut, providers.Unavailable:
	default: // counted as a push that was not approved
	}
}

// ttl is how long the document can matter: a day after its last push, and for ever after a fraud report.
func (p *person) ttl() time.Duration {
	if p.Fraud {
		return 0
	}
	return budgetDay + time.Hour
}

func decodePerson(e Entry) (person, error) {
	var p person
	if e.Value == nil {
		return p, nil
	}
	if err := json.Unmarshal(e.Value, &p); err != nil {
		return p, fmt.Errorf("%w: person document: %w", ErrLedger, err)
	}
	return p, nil
}
