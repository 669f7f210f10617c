package hold

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/providers"
)

// Budget bounds what one person is asked, over all their holds, all providers and all replicas, so that nobody can be worn
// down by pushes (invariant I10), and what one agent and one tenant start, so that an agent that runs wild does not ring
// every phone there is. A zero field takes the default that its comment names; a person's budget has no unlimited.
type Budget struct {
	Interval           time.Duration // 10s: between a push's end and the next push
	Per15m             int           // 5: pushes in 15 minutes that were not approved
	PerDay             int           // 30: pushes in 24 hours
	Denials            int           // 2: denials in 15 minutes that start a cool-off
	CooloffAfterDenial time.Duration // 15m: how long it lasts
	PerAgent15m        int           // pushes started for one agent in 15 minutes; 0: no ceiling
	PerTenant15m       int           // the same in one tenant, or one domain where no tenant is known; 0: no ceiling
}

const (
	budgetWindow = 15 * time.Minute
	budgetDay    = 24 * time.Hour
	maxPerDay    = 500  // what fits a ledger document
	maxStarts    = 1000 // the same
	maxAlso      = 16   // other names that a person's document keeps
	// pushGrace is how long after its end a hold, and after its own a push, is left to an owner that may be gone.
	pushGrace = 30 * time.Second
)

func (b Budget) withDefaults() (Budget, error) {
	if b.Interval < 0 || b.Per15m < 0 || b.PerDay < 0 || b.Denials < 0 || b.CooloffAfterDenial < 0 || b.PerAgent15m < 0 || b.PerTenant15m < 0 {
		return b, errors.New("hold: negative push budget")
	}
	if b.PerDay > maxPerDay || b.Per15m > maxPerDay || b.Denials > maxPerDay {
		return b, fmt.Errorf("hold: push budget above %d", maxPerDay)
	}
	if b.PerAgent15m > maxStarts || b.PerTenant15m > maxStarts {
		return b, fmt.Errorf("hold: push ceiling above %d", maxStarts)
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

// BudgetError says that this person may not be pushed now.
type BudgetError struct {
	Reason string    `json:"reason"`         // "per_15m", "per_day", "cooloff", "fraud", "per_agent", "per_tenant"
	Until  time.Time `json:"until,omitzero"` // zero: until an operator clears it
}

func (e *BudgetError) Error() string {
	if e.Until.IsZero() {
		return fmt.Sprintf("hold: push budget exhausted (%s) until an operator clears it", e.Reason)
	}
	return fmt.Sprintf("hold: push budget exhausted (%s) until %s", e.Reason, e.Until.Format(time.RFC3339))
}

// Clause says why in words fit for the employee; "" where it is because they were asked too often.
func (e *BudgetError) Clause() string {
	switch e.Reason {
	case "per_agent":
		return "this agent has started too many verifications"
	case "per_tenant":
		return "too many verifications have been started in this organisation"
	case "cooloff":
		return "earlier verification requests were declined"
	case "fraud":
		return "an earlier verification request was reported as fraud"
	default:
		return ""
	}
}

// person is one person's budget document.
type person struct {
	Pushes       []push      `json:"pushes,omitempty"` // of the last 24 hours, oldest first
	Denials      []time.Time `json:"denials,omitempty"`
	CooloffUntil time.Time   `json:"cooloff_until,omitzero"`
	Fraud        bool        `json:"fraud,omitempty"` // until an operator clears it
	NextAt       time.Time   `json:"next_at,omitzero"`
	Who          string      `json:"who,omitempty"`  // requester id, for Blocked
	Also         []string    `json:"also,omitempty"` // keys of the same person's other documents
	Last         report      `json:"last,omitzero"`  // the newest denial or fraud report
}

// report is what an operator wants to know of a denial or a fraud report.
type report struct {
	At     time.Time `json:"at"`
	Hold   ID        `json:"hold"`
	Agent  string    `json:"agent,omitempty"`
	Ticket string    `json:"ticket,omitempty"`
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
	// If nobody says that it ended, it may have been sent at the last moment, and shown from then on.
	p.Pushes = append(p.Pushes, push{Hold: id, At: now, Until: expires.Add(ringTime + pushGrace)})
	return time.Time{}, nil
}

// release ends the push of a hold. Where nobody was asked, it counts for nothing. ringing is how long the phone may go on
// showing it all the same; no other push is sent meanwhile. It reports whether that changed anything.
func (p *person) release(b Budget, rec Record, asked bool, v providers.Verdict, ringing time.Duration, now time.Time) bool {
	p.prune(now)
	i := slices.IndexFunc(p.Pushes, func(u push) bool { return u.Hold == rec.ID && !u.Until.IsZero() })
	if !asked {
		if i >= 0 {
			p.Pushes = slices.Delete(p.Pushes, i, i+1)
		}
		return i >= 0
	}
	if i >= 0 {
		p.Pushes[i].Until, p.Pushes[i].Approved = time.Time{}, v == providers.Approved
		p.NextAt = now.Add(max(b.Interval, ringing))
	}
	last := report{At: now, Hold: rec.ID, Agent: rec.Subject.Agent, Ticket: rec.Subject.Ticket}
	switch v {
	case providers.Denied:
		if p.Last.Hold != rec.ID { // a Store that seemed to fail had happened
			p.Denials, p.Last = append(p.Denials, now), last
		}
		if len(p.Denials) >= b.Denials {
			p.CooloffUntil = now.Add(b.CooloffAfterDenial)
		}
	case providers.Fraud:
		p.Fraud, p.Last = true, last
	case providers.Approved, providers.TimedOut, providers.NotEnrolled, providers.LockedOut, providers.Unavailable:
	default: // counted as a push that was not approved
	}
	p.Who = rec.Subject.Requester.ID
	return true
}

// ttl is how long the document can matter: a day after its last push, as long as a cool-off, and for ever after a fraud report.
func (p *person) ttl() time.Duration {
	if p.Fraud {
		return 0
	}
	return max(budgetDay, time.Until(p.CooloffUntil)) + time.Hour
}
