package holdmodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"countersign/internal/hold"
	"countersign/policy"
	"countersign/providers"
)

// epoch is when the first moment is. Any time does.
var epoch = time.Date(2030, 1, 1, 9, 0, 0, 0, time.UTC)

// known is a hold.Record that some run came by, with what the protocol reads of it.
type known struct {
	rec      hold.Record
	hold     uint8 // whose it is
	owner    uint8 // 1 + the desk; 0: none of this world
	caller   uint8 // 1 + the exchange; 0: nobody
	redeemer uint8 // 1 + the desk
}

// event is a hold.Event in this world's terms, small enough to be looked up.
type event struct {
	kind    hold.Kind
	who     uint8 // the exchange: that opens, attaches, leaves or redeems
	desk    uint8
	gone    bool // the caller, redeemer or owner on record is known to be gone
	async   bool
	end     uint8 // EventWithdrawn, EventFaulted: the ending
	verdict uint8 // EventSettled
	at      uint8 // EventSettled: when the person answered
	altered bool  // EventRedeemed
}

// An ending is why a hold is concluded.
const (
	byOutcome uint8 = iota
	byNothing       // it has ended elsewhere
	byTime
	byAbsence
	byLapse
	byOperator
	byLedger      // the ledger failed
	byLoss        // the owner is gone, and nobody knows how far it came
	byUnknown     // the provider's start failed
	notRecorded   // the journal failed
	notRecordable // and the hold was approved: it is left as it is
)

type stepKey struct {
	rec uint16
	ev  event
	now uint8
}

type stepResult struct {
	rec uint16
	err error // one of hold's, or nil
}

// records keeps every record met, so that a state needs only their numbers, and what Step made of each.
type records struct {
	all    []known
	number map[string]uint16
	memo   map[stepKey]stepResult
	kinds  map[hold.Kind]bool // that Step accepted
}

func newRecords() *records {
	return &records{all: make([]known, 1), number: map[string]uint16{}, memo: map[stepKey]stepResult{}, kinds: map[hold.Kind]bool{}}
}

// intern numbers a record. Everything in it counts: two that differ in any field are two.
func (m *model) intern(r hold.Record) uint16 {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // a record is plain data
	}
	if n, ok := m.recs.number[string(b)]; ok {
		return n
	}
	k := known{rec: r, hold: digit(string(r.ID), 1) - 1}
	if r.Owner != "" {
		k.owner = 1 + digit(r.Owner, 1)
	}
	if r.Caller != "" {
		k.caller = 1 + digit(r.Caller, 3)
	}
	if r.Redeemer != "" && r.Redeemer != "crashed" {
		k.redeemer = 1 + digit(r.Redeemer, 1)
	}
	n := len(m.recs.all)
	if n > 1<<16-1 {
		panic("holdmodel: too many records")
	}
	m.recs.all = append(m.recs.all, k)
	m.recs.number[string(b)] = uint16(n)
	return uint16(n)
}

// digit reads one of the small numbers that names end in.
func digit(name string, at int) uint8 {
	if at >= len(name) {
		panic("holdmodel: not a name of this world: " + name)
	}
	return name[at] - '0'
}

func deskName(d uint8) string            { return fmt.Sprintf("d%d", d) }
func tokenName(d, x uint8) string        { return fmt.Sprintf("d%d.%d", d, x) }
func holdID(x uint8) hold.ID             { return hold.ID(fmt.Sprintf("h%d", x+1)) }
func (m *model) rec(n uint16) *known     { return &m.recs.all[n] }
func (m *model) time(at uint8) time.Time { return epoch.Add(m.c.Moments[at]) }

// first returns the first moment that is not before t; one past the last where there is none.
func (m *model) first(t time.Time) uint8 {
	for i := range m.moments {
		if !m.time(i).Before(t) {
			return i
		}
	}
	return m.moments
}

// step asks hold.Step what an event makes of a record. It is pure, so that each question is asked once.
func (m *model) step(rec uint16, ev event, now uint8) (uint16, error) {
	k := stepKey{rec, ev, now}
	if r, ok := m.recs.memo[k]; ok {
		return r.rec, r.err
	}
	r := m.rec(rec).rec
	at := m.time(now)
	if m.c.Bugs&RedeemLapsed != 0 && ev.kind == hold.EventRedeemed && r.Evidence != nil {
		at = r.Evidence.ApprovedAt
	}
	next, err := hold.Step(r, m.event(r, ev), at)
	out := stepResult{rec: rec}
	switch {
	case err == nil:
		m.recs.kinds[ev.kind] = true
		if m.c.Bugs&DeliverAgain != 0 && next.State.Final() {
			next.Delivered = false
		}
		out.rec = m.intern(next)
	case m.forgotten(r, err):
		out.err = hold.ErrTransition
	default:
		out.err = kindOf(err)
	}
	m.recs.memo[k] = out
	return out.rec, out.err
}

func (m *model) forgotten(r hold.Record, err error) bool {
	return m.c.Bugs&ForgetRedeemed != 0 && r.State == hold.Spent && errors.Is(err, hold.ErrOutcomeUnknown)
}

func kindOf(err error) error {
	for _, kind := range []error{hold.ErrDuplicate, hold.ErrOutcomeUnknown, hold.ErrSpent, hold.ErrTransition} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	panic(err) // Step returns no others
}

// event writes ev out as the sidecar would.
func (m *model) event(r hold.Record, ev event) hold.Event {
	e := hold.Event{Kind: ev.kind}
	switch ev.kind {
	case hold.EventOpened:
		e.Opening = m.opening(ev)
	case hold.EventAttached:
		e.Caller = tokenName(ev.desk, ev.who)
		if ev.gone {
			e.Gone = r.Caller
		}
		if ev.gone && r.State == hold.Spent {
			e.Gone = r.Redeemer
		}
	case hold.EventLeft, hold.EventDelivered:
		e.Caller, e.Async = tokenName(ev.desk, ev.who), ev.async
	case hold.EventAdopted:
		e.Desk, e.Gone = deskName(ev.desk), r.Owner
	case hold.EventAsked:
		e.Provider, e.Transaction = "phone", "t"+string(r.ID)
	case hold.EventSettled:
		e.Outcome = providers.Outcome{Verdict: providers.Verdict(ev.verdict), At: m.time(ev.at)}
		if e.Outcome.Verdict == providers.Approved {
			e.Outcome.AMR = []string{"swk"}
		}
	case hold.EventWithdrawn:
		e.Detail, e.By = "operator", "op"
	case hold.EventFaulted:
		e.Detail = faults[ev.end]
	case hold.EventRedeemed:
		x := m.c.Exchanges[ev.who]
		e.Desk, e.Exchange, e.Digest = deskName(ev.desk), fmt.Sprintf("x%d", ev.who+1), digest(x)
		if ev.altered && m.c.Bugs&RedeemOtherBytes == 0 {
			e.Digest[0]++
		}
	case hold.EventNone, hold.EventTimedOut, hold.EventAbandoned, hold.EventAnswered, hold.EventExpired, hold.EventAsking:
	default:
	}
	return e
}

var faults = map[uint8]string{byLedger: "ledger", byLoss: "owner lost", notRecorded: "not recorded"}

func digest(x Exchange) policy.Digest { return policy.Digest{x.Body} }

// keyOf is the hold key of an exchange, by the sidecar's own function.
func (m *model) keyOf(x Exchange) string {
	s := policy.Subject{Agent: "agent"}
	if s.Requester.ID = x.Requester; m.c.Bugs&KeyWithoutRequester != 0 {
		s.Requester.ID = "anybody"
	}
	return hold.Key(hold.Request{Digest: digest(x), Subject: s})
}

func (m *model) opening(ev event) hold.Record {
	x := m.c.Exchanges[ev.who]
	now := m.time(ev.at)
	return hold.Record{
		ID: holdID(ev.who), Key: m.keyOf(x), Digest: digest(x), Exchange: fmt.Sprintf("x%d", ev.who+1),
		Subject:     policy.Subject{Agent: "agent", Requester: policy.Requester{ID: x.Requester, Assurance: policy.AssuranceAttested}},
		Requirement: policy.Requirement{Approver: "requester"},
		OpenedAt:    now, ExpiresAt: now.Add(m.c.Timeout), Resume: m.c.Resume,
		Owner: deskName(ev.desk), Caller: tokenName(ev.desk, ev.who),
	}
}
