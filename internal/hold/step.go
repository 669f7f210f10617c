package hold

import (
	"fmt"
	"slices"
	"time"

	"countersign/policy"
	"countersign/providers"
)

// OutcomeUnknownFor is how long an identical request is refused after a crash between redemption and answer.
const OutcomeUnknownFor = 10 * time.Minute

// Kind says what happened to a hold. The zero value is nothing.
type Kind uint8

// The kinds of event.
const (
	EventNone      Kind = iota
	EventOpened         // somebody's operation is to be verified
	EventAttached       // a caller waits for it
	EventLeft           // the caller went, without the outcome
	EventDelivered      // the caller went, with the outcome
	EventAdopted        // another desk waits for the person, the owner being gone
	EventAsked          // the provider accepted the challenge
	EventSettled        // the provider answered
	EventTimedOut       // the hold's own time is over
	EventAbandoned      // nobody came back for it
	EventWithdrawn      // an operator, the budget or a stop took it back
	EventFaulted        // something of ours or the provider's failed
	EventRedeemed       // the approval is spent
	EventAnswered       // upstream's answer is known
	EventExpired        // approved, and nobody claimed it
	EventAsking         // a provider is about to be asked: told to observers, and changes nothing
)

var kindNames = [...]string{
	EventNone: "none", EventOpened: "opened", EventAttached: "attached", EventLeft: "left", EventDelivered: "delivered",
	EventAdopted: "adopted", EventAsked: "asked", EventSettled: "settled", EventTimedOut: "timed_out", EventAbandoned: "abandoned",
	EventWithdrawn: "withdrawn", EventFaulted: "faulted", EventRedeemed: "redeemed", EventAnswered: "answered", EventExpired: "expired",
	EventAsking: "asking",
}

// String returns the kind's name in snake case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Event is one thing that happened to a hold. Kind says which of the other fields count.
type Event struct {
	Kind Kind

	Opening Record // EventOpened: the new hold; Step sets its State, and OpenedAt where it is zero

	Caller string // EventAttached, EventLeft, EventDelivered: the attachment
	Gone   string // EventAttached, EventAdopted: the caller or owner on record that is known to be gone
	Desk   string // EventAdopted: the new owner. EventRedeemed: the redeemer

	Async bool // EventLeft: the caller means to come back for the outcome

	Provider    string            // EventAsking, EventAsked; EventSettled: who said so, where nobody was asked
	Transaction string            // EventAsked
	PromptURL   string            // EventAsked
	Accounts    []string          // EventAsked
	ExpiresAt   time.Time         // EventAsking, EventAsked: the provider's own shorter limit; zero: no shorter
	Outcome     providers.Outcome // EventSettled
	Escalated   bool              // EventSettled, EventFaulted: a technician was notified
	Detail      string            // EventWithdrawn, EventFaulted: a constant of ours

	By      string       // EventWithdrawn: the operator; empty: nobody's decision
	Blocked *BudgetError // EventWithdrawn: the budget that forbids the push

	Digest   policy.Digest // EventRedeemed
	Exchange string        // EventRedeemed
}

// Step is the state machine of a hold: it answers what e at now makes of r, or why that cannot happen. It is pure: it
// knows no clock, network or lock. On an error the record comes back as it was.
func Step(r Record, e Event, now time.Time) (Record, error) {
	next, err := r, error(nil)
	switch e.Kind {
	case EventOpened:
		next, err = opened(r, e, now)
	case EventAttached:
		next, err = attached(r, e, now)
	case EventLeft, EventDelivered:
		next, err = left(r, e, now)
	case EventRedeemed:
		next, err = redeemed(r, e, now)
	case EventAnswered:
		if r.State != Spent || !r.AnsweredAt.IsZero() {
			return r, impossible(r, e)
		}
		next.AnsweredAt = now
	case EventExpired:
		if r.State != Approved || !lapsed(r, now) {
			return r, impossible(r, e)
		}
		next = settle(r, Expired, now)
	case EventWithdrawn:
		if !r.State.Live() {
			return r, impossible(r, e)
		}
		next = settle(r, Withdrawn, now)
		next.Detail, next.By, next.Blocked = e.Detail, e.By, e.Blocked
	case EventAdopted, EventAsked, EventSettled, EventTimedOut, EventAbandoned, EventFaulted:
		if r.State != Pending {
			return r, impossible(r, e) // a late yes does not open a settled hold
		}
		next, err = whilePending(r, e, now)
	case EventNone, EventAsking:
		return r, impossible(r, e)
	default:
		return r, impossible(r, e)
	}
	if err != nil {
		return r, err
	}
	return next, nil
}

func opened(r Record, e Event, now time.Time) (Record, error) {
	n := e.Opening
	if r.State != Unopened || n.ID == "" || n.Key == "" || n.Resume <= 0 || n.Digest == (policy.Digest{}) || n.Subject.Requester.ID == "" {
		return r, impossible(r, e)
	}
	if n.OpenedAt.IsZero() {
		n.OpenedAt = now
	}
	if !n.ExpiresAt.After(n.OpenedAt) || !n.ExpiresAt.After(now) {
		return r, impossible(r, e)
	}
	n.State, n.Evidence, n.Delivered = Pending, nil, false
	n.SettledAt, n.SpentAt, n.AnsweredAt, n.AskedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return n, nil
}

// attached answers the table of design §3 for a caller that comes with the same hold key. ErrTransition means that
// the hold is over and a new one is due.
func attached(r Record, e Event, now time.Time) (Record, error) {
	switch {
	case e.Caller == "":
		return r, impossible(r, e)
	case r.State == Spent && r.AnsweredAt.IsZero() && now.Sub(r.SpentAt) < OutcomeUnknownFor:
		if e.Gone != "" && e.Gone == r.Redeemer {
			return r, ErrOutcomeUnknown
		}
		return r, ErrDuplicate
	case r.State == Pending, r.State == Approved && !lapsed(r, now), undelivered(r, now):
		if r.Caller != "" && r.Caller != e.Gone {
			return r, ErrDuplicate
		}
	default:
		return r, impossible(r, e)
	}
	r.Caller, r.LeftAt = e.Caller, time.Time{}
	// Claimed here, so that of two that ask at the same time only one is given a past outcome.
	r.Delivered = r.State.Final()
	return r, nil
}

func left(r Record, e Event, now time.Time) (Record, error) {
	if r.State == Unopened || e.Caller == "" || r.Caller != e.Caller {
		return r, impossible(r, e)
	}
	r.Caller, r.LeftAt = "", now
	r.Async = r.Async || e.Async
	if r.State != Pending { // while it is pending there is no outcome to deliver
		r.Delivered = e.Kind == EventDelivered
	}
	return r, nil
}

func redeemed(r Record, e Event, now time.Time) (Record, error) {
	switch {
	case r.State != Approved || !r.SpentAt.IsZero():
		return r, fmt.Errorf("%w: it is %v", ErrSpent, r.State)
	case !r.Digest.Equal(e.Digest): // constant time
		return r, fmt.Errorf("%w: other bytes", ErrSpent)
	case r.Evidence == nil || r.Evidence.Approver.ID == "" || r.Evidence.Approver.ID != r.Subject.Requester.ID:
		return r, fmt.Errorf("%w: not the requester's approval", ErrSpent)
	case lapsed(r, now):
		return r, fmt.Errorf("%w: %w", ErrSpent, ErrExpired)
	}
	r.State, r.SpentAt, r.Redeemer, r.RedeemedBy = Spent, now, e.Desk, e.Exchange
	r.Delivered = false
	return r, nil
}

func whilePending(r Record, e Event, now time.Time) (Record, error) {
	switch e.Kind {
	case EventAdopted:
		if e.Desk == "" || e.Gone == "" || e.Gone != r.Owner {
			return r, impossible(r, e)
		}
		r.Owner = e.Desk
		return r, nil
	case EventAsked:
		if !r.AskedAt.IsZero() || e.Provider == "" || e.Transaction == "" || !now.Before(r.ExpiresAt) {
			return r, impossible(r, e)
		}
		r.AskedAt, r.Provider, r.Transaction, r.PromptURL, r.Accounts = now, e.Provider, e.Transaction, e.PromptURL, e.Accounts
		if !e.ExpiresAt.IsZero() && e.ExpiresAt.Before(r.ExpiresAt) {
			r.ExpiresAt = e.ExpiresAt
		}
		return r, nil
	case EventSettled:
		return answered(r, e, now), nil
	case EventTimedOut:
		if now.Before(r.ExpiresAt) {
			return r, impossible(r, e)
		}
		return settle(r, TimedOut, now), nil
	case EventAbandoned:
		if r.Caller != "" || r.LeftAt.IsZero() || r.Async || now.Before(r.LeftAt.Add(r.Resume)) {
			return r, impossible(r, e)
		}
		r = settle(r, Withdrawn, now)
		r.Detail = "abandoned"
		return r, nil
	case EventFaulted:
		r = settle(r, Unavailable, now)
		r.Detail, r.Escalated = e.Detail, e.Escalated
		return r, nil
	case EventNone, EventOpened, EventAttached, EventLeft, EventDelivered, EventWithdrawn, EventRedeemed, EventAnswered, EventExpired,
		EventAsking:
		return r, impossible(r, e)
	default:
		return r, impossible(r, e)
	}
}

// answered is what the provider's outcome makes of a pending hold. Only an approval of our own asking, in time, counts.
func answered(r Record, e Event, now time.Time) Record {
	state := stateOf(e.Outcome.Verdict)
	if state == Approved && r.AskedAt.IsZero() {
		state = Unavailable
	}
	if !now.Before(r.ExpiresAt) {
		state = TimedOut // whatever it says, it says it too late
	}
	r = settle(r, state, now)
	r.Detail, r.Escalated = clean(e.Outcome.Detail, maxDetail), e.Escalated
	if r.Provider == "" && state != Approved { // nobody was asked
		r.Provider = e.Provider
	}
	if state != Approved {
		return r
	}
	at := e.Outcome.At
	if at.Before(r.AskedAt) || at.After(now) {
		at = now // the provider's clock is not ours: what it says must be possible
	}
	r.Evidence = &policy.Evidence{
		Hold: string(r.ID), Provider: r.Provider, Transaction: r.Transaction,
		Approver: policy.Approver{ID: r.Subject.Requester.ID, ImmutableID: clean(e.Outcome.ImmutableID, maxDetail)},
		AMR:      cleanAMR(e.Outcome.AMR), StartedAt: r.AskedAt, ApprovedAt: at,
	}
	return r
}

func stateOf(v providers.Verdict) State {
	switch v {
	case providers.Approved:
		return Approved
	case providers.Denied:
		return Denied
	case providers.TimedOut:
		return TimedOut
	case providers.Fraud:
		return Fraud
	case providers.NotEnrolled:
		return NotEnrolled
	case providers.LockedOut:
		return LockedOut
	case providers.Unavailable:
		return Unavailable
	default:
		return Unavailable
	}
}

func settle(r Record, s State, now time.Time) Record {
	r.State, r.SettledAt, r.Delivered = s, now, false
	return r
}

// lapsed reports whether the approval of r is older than its resume time. No evidence is no approval.
func lapsed(r Record, now time.Time) bool {
	if r.Evidence == nil {
		return true
	}
	age := now.Sub(r.Evidence.ApprovedAt)
	return age > r.Resume || age < -time.Minute
}

// undelivered reports whether the outcome of r is one that its caller never received and may still be given. An
// approval that nobody claimed and a withdrawal that nobody decided are no outcomes: a new hold says more.
func undelivered(r Record, now time.Time) bool {
	switch r.State {
	case Denied, TimedOut, Fraud, NotEnrolled, LockedOut, Unavailable:
	case Withdrawn:
		if r.By == "" {
			return false
		}
	case Unopened, Pending, Approved, Spent, Expired:
		return false
	default:
		return false
	}
	return !r.Delivered && now.Sub(r.SettledAt) <= r.Resume
}

func impossible(r Record, e Event) error {
	return fmt.Errorf("%w: %v while %v", ErrTransition, e.Kind, r.State)
}

func cleanAMR(in []string) []string {
	const most = 16
	out := make([]string, 0, min(len(in), most))
	for _, m := range in[:min(len(in), most)] {
		if m = clean(m, 32); m != "" && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}
