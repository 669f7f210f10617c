package hold_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"countersign/internal/hold"
	"countersign/policy"
	"countersign/providers"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// The grids list every state with every event. A cell is the state that follows, or why none does: "x" ErrTransition,
// "dup" ErrDuplicate, "no" ErrSpent, "late" ErrExpired. Events carry what would make them succeed
// where anything could: the right digest, an approval, the caller "desk1.1". The pending hold has asked nobody yet, so that its
// approval is none.
const columns = `
             none opened   attached     left         delivered    adopted asked   settled     timed_out abandoned withdrawn faulted     redeemed answered expired asking unknown`

// A caller is attached, nothing is late.
const attachedGrid = `
unopened     x    pending  x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
pending      x    x        dup          pending      pending      pending pending unavailable x         x         withdrawn unavailable no       x        x       x      x
approved     x    x        dup          approved     approved     x       x       x           x         x         withdrawn x           spent    x        x       x      x
spent        x    x        dup          spent        spent        x       x       x           x         x         x         x           no       spent    x       x      x
denied       x    x        dup          denied       denied       x       x       x           x         x         x         x           no       x        x       x      x
timed_out    x    x        dup          timed_out    timed_out    x       x       x           x         x         x         x           no       x        x       x      x
fraud        x    x        dup          fraud        fraud        x       x       x           x         x         x         x           no       x        x       x      x
not_enrolled x    x        dup          not_enrolled not_enrolled x       x       x           x         x         x         x           no       x        x       x      x
locked_out   x    x        dup          locked_out   locked_out   x       x       x           x         x         x         x           no       x        x       x      x
unavailable  x    x        dup          unavailable  unavailable  x       x       x           x         x         x         x           no       x        x       x      x
withdrawn    x    x        x            withdrawn    withdrawn    x       x       x           x         x         x         x           no       x        x       x      x
expired      x    x        x            expired      expired      x       x       x           x         x         x         x           no       x        x       x      x
unknown      x    x        x            unknown      unknown      x       x       x           x         x         x         x           no       x        x       x      x`

// The caller left a second ago, nothing is late: what it did not get is given once.
const leftGrid = `
unopened     x    pending  x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
pending      x    x        pending      x            x            pending pending unavailable x         x         withdrawn unavailable no       x        x       x      x
approved     x    x        approved     x            x            x       x       x           x         x         withdrawn x           spent    x        x       x      x
spent        x    x        dup          x            x            x       x       x           x         x         x         x           no       spent    x       x      x
denied       x    x        denied       x            x            x       x       x           x         x         x         x           no       x        x       x      x
timed_out    x    x        timed_out    x            x            x       x       x           x         x         x         x           no       x        x       x      x
fraud        x    x        fraud        x            x            x       x       x           x         x         x         x           no       x        x       x      x
not_enrolled x    x        not_enrolled x            x            x       x       x           x         x         x         x           no       x        x       x      x
locked_out   x    x        locked_out   x            x            x       x       x           x         x         x         x           no       x        x       x      x
unavailable  x    x        unavailable  x            x            x       x       x           x         x         x         x           no       x        x       x      x
withdrawn    x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
expired      x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
unknown      x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x`

// The caller left long ago, and every time limit has passed.
const lateGrid = `
unopened     x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
pending      x    x        pending      x            x            pending x       timed_out   timed_out withdrawn withdrawn unavailable no       x        x       x      x
approved     x    x        x            x            x            x       x       x           x         x         withdrawn x           late     x        expired x      x
spent        x    x        x            x            x            x       x       x           x         x         x         x           no       spent    x       x      x
denied       x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
timed_out    x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
fraud        x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
not_enrolled x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
locked_out   x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
unavailable  x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
withdrawn    x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
expired      x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x
unknown      x    x        x            x            x            x       x       x           x         x         x         x           no       x        x       x      x`

func TestEveryStateWithEveryEvent(t *testing.T) {
	for name, grid := range map[string]struct {
		cells string
		now   time.Time
		left  bool
	}{
		"a caller is attached":   {attachedGrid, noon, false},
		"the caller has left":    {leftGrid, noon, true},
		"every limit has passed": {lateGrid, noon.Add(time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			want := parseGrid(t, grid.cells)
			for state := range int(hold.Expired) + 2 {
				for kind := range int(hold.EventAsking) + 2 {
					s, k := hold.State(state), hold.Kind(kind)
					cell, ok := want[s.String()][k.String()]
					if !ok {
						t.Errorf("%v × %v is not listed", s, k)
						continue
					}
					r := inState(s)
					if grid.left && r.Caller != "" {
						r.Caller, r.LeftAt = "", noon.Add(-time.Second)
					}
					checkStep(t, r, eventOf(k), grid.now, cell)
				}
			}
		})
	}
}

func checkStep(t *testing.T, r hold.Record, e hold.Event, now time.Time, want string) {
	t.Helper()
	got, err := hold.Step(r, e, now)
	refusals := map[string]error{"x": hold.ErrTransition, "dup": hold.ErrDuplicate, "no": hold.ErrSpent, "late": hold.ErrExpired}
	if refusal, ok := refusals[want]; ok {
		if !errors.Is(err, refusal) || !reflect.DeepEqual(got, r) {
			t.Errorf("%v × %v = %v, %v; want %v and the record as it was", r.State, e.Kind, got.State, err, refusal)
		}
		return
	}
	if err != nil || got.State.String() != want {
		t.Errorf("%v × %v = %v, %v; want %s", r.State, e.Kind, got.State, err, want)
	}
	if got.State == hold.Approved && got.Evidence == nil {
		t.Errorf("%v × %v is approved without evidence", r.State, e.Kind)
	}
}

func parseGrid(t *testing.T, cells string) map[string]map[string]string {
	t.Helper()
	kinds := strings.Fields(columns)
	grid := map[string]map[string]string{}
	for line := range strings.Lines(strings.TrimSpace(cells)) {
		f := strings.Fields(line)
		if len(f) != len(kinds)+1 || grid[f[0]] != nil {
			t.Fatalf("row %q has %d cells, want %d, or comes twice", f[0], len(f)-1, len(kinds))
		}
		grid[f[0]] = map[string]string{}
		for i, kind := range kinds {
			grid[f[0]][kind] = f[i+1]
		}
	}
	if len(grid) != int(hold.Expired)+2 {
		t.Fatalf("%d rows, want one per state and one for an unknown one", len(grid))
	}
	return grid
}

var digest = policy.Digest{1, 2, 3}

// inState returns a hold that has come to s in an ordinary way, its caller attached.
func inState(s hold.State) hold.Record {
	if s == hold.Unopened {
		return hold.Record{}
	}
	r := hold.Record{
		ID: "aa", Key: "bb", State: s, Digest: digest, Resume: 2 * time.Minute, Owner: "desk1", Caller: "desk1.1",
		OpenedAt: noon.Add(-time.Minute), ExpiresAt: noon.Add(4 * time.Minute),
		Subject: policy.Subject{Agent: "helpdesk-1", Requester: policy.Requester{ID: "alice@contoso.com", Assurance: policy.AssuranceAttested}},
	}
	if s == hold.Pending {
		return r
	}
	r.AskedAt, r.Provider, r.Transaction, r.SettledAt = noon.Add(-50*time.Second), "duo", "tx", noon.Add(-10*time.Second)
	if s == hold.Approved || s == hold.Spent || s == hold.Expired {
		r.Evidence = &policy.Evidence{Hold: "aa", Provider: "duo", Transaction: "tx",
			Approver: policy.Approver{ID: "alice@contoso.com"}, StartedAt: r.AskedAt, ApprovedAt: r.SettledAt}
	}
	if s == hold.Spent {
		r.SpentAt, r.Redeemer = noon.Add(-5*time.Second), "desk1"
	}
	return r
}

// eventOf returns the event of a kind with everything that could make it succeed.
func eventOf(k hold.Kind) hold.Event {
	e := hold.Event{Kind: k, Caller: "desk1.1", Digest: digest, Desk: "desk2", Provider: "duo", Transaction: "tx"}
	switch k {
	case hold.EventOpened:
		e.Opening = inState(hold.Pending)
		e.Opening.State = hold.Unopened
	case hold.EventAttached:
		e.Caller = "desk2.7"
	case hold.EventAdopted:
		e.Gone = "desk1"
	case hold.EventSettled:
		e.Outcome = providers.Outcome{Verdict: providers.Approved}
	default:
	}
	return e
}

// asked returns a pending hold whose person has been asked.
func asked(t *testing.T) hold.Record {
	t.Helper()
	r, err := hold.Step(inState(hold.Pending), hold.Event{Kind: hold.EventAsked, Provider: "duo", Transaction: "tx"}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOnlyAnApprovalOfOurOwnAskingIsEvidence(t *testing.T) {
	for verdict := range providers.LockedOut + 3 { // two more than there are
		for _, wasAsked := range []bool{true, false} {
			r := inState(hold.Pending)
			if wasAsked {
				r = asked(t)
			}
			got, err := hold.Step(r, hold.Event{Kind: hold.EventSettled, Outcome: providers.Outcome{Verdict: verdict, ImmutableID: "DU1", AMR: []string{"pop"}}}, noon.Add(time.Second))
			if err != nil {
				t.Fatal(err)
			}
			yes := verdict == providers.Approved && wasAsked
			if (got.State == hold.Approved) != yes || (got.Evidence != nil) != yes {
				t.Errorf("verdict %d, asked %v: %v with evidence %v", verdict, wasAsked, got.State, got.Evidence)
			}
			if verdict > providers.LockedOut && got.State != hold.Unavailable {
				t.Errorf("unknown verdict %d: %v, want unavailable", verdict, got.State)
			}
			if yes && (got.Evidence.Approver.ID != "alice@contoso.com" || got.Evidence.Approver.ImmutableID != "DU1" || got.Evidence.Transaction != "tx") {
				t.Errorf("evidence = %+v", got.Evidence)
			}
		}
	}
}

func TestALateYesDoesNotOpenTheGate(t *testing.T) {
	r := asked(t)
	for after, want := range map[time.Duration]hold.State{-time.Nanosecond: hold.Approved, 0: hold.TimedOut, time.Hour: hold.TimedOut} {
		got, err := hold.Step(r, hold.Event{Kind: hold.EventSettled, Outcome: providers.Outcome{Verdict: providers.Approved}}, r.ExpiresAt.Add(after))
		if err != nil || got.State != want {
			t.Errorf("%v after its end: %v, %v; want %v", after, got.State, err, want)
		}
	}
}

func TestAProvidersOwnClockCountsOnlyWherePossible(t *testing.T) {
	now := noon.Add(time.Minute)
	for name, c := range map[string]struct{ at, want time.Time }{
		"unknown":           {time.Time{}, now},
		"between":           {noon.Add(20 * time.Second), noon.Add(20 * time.Second)},
		"before the asking": {noon.Add(-time.Hour), now},
		"in the future":     {now.Add(time.Hour), now},
	} {
		got, err := hold.Step(asked(t), hold.Event{Kind: hold.EventSettled, Outcome: providers.Outcome{Verdict: providers.Approved, At: c.at}}, now)
		if err != nil || !got.Evidence.ApprovedAt.Equal(c.want) {
			t.Errorf("%s: approved at %v, %v; want %v", name, got.Evidence.ApprovedAt, err, c.want)
		}
	}
}

func TestAnApprovalIsRedeemedOnceForItsBytesInTime(t *testing.T) {
	redeem := hold.Event{Kind: hold.EventRedeemed, Digest: digest, Desk: "desk1", Exchange: "ex"}
	r := inState(hold.Approved)
	until := r.Evidence.ApprovedAt.Add(r.Resume)
	spent, err := hold.Step(r, redeem, until)
	if err != nil || spent.State != hold.Spent || spent.RedeemedBy != "ex" || !spent.SpentAt.Equal(until) {
		t.Fatalf("at the last moment: %+v, %v", spent, err)
	}
	for name, broken := range map[string]struct {
		r  hold.Record
		e  hold.Event
		at time.Time
	}{
		"twice":       {spent, redeem, until},
		"too late":    {r, redeem, until.Add(time.Nanosecond)},
		"other bytes": {r, hold.Event{Kind: hold.EventRedeemed, Digest: policy.Digest{9}}, noon},
		"no bytes":    {r, hold.Event{Kind: hold.EventRedeemed}, noon},
		"no evidence": {with(r, func(r *hold.Record) { r.Evidence = nil }), redeem, noon},
		"another's approval": {with(r, func(r *hold.Record) {
			r.Evidence = &policy.Evidence{ApprovedAt: noon, Approver: policy.Approver{ID: "mallory@contoso.com"}}
		}), redeem, noon},
		"nobody's approval": {with(r, func(r *hold.Record) { r.Evidence = &policy.Evidence{ApprovedAt: noon}; r.Subject.Requester.ID = "" }), redeem, noon},
		"approved in the future": {with(r, func(r *hold.Record) {
			r.Evidence = &policy.Evidence{ApprovedAt: noon.Add(time.Hour), Approver: r.Evidence.Approver}
		}), redeem, noon},
		"no digest on record": {with(r, func(r *hold.Record) { r.Digest = policy.Digest{} }), hold.Event{Kind: hold.EventRedeemed}, noon},
	} {
		if got, err := hold.Step(broken.r, broken.e, broken.at); !errors.Is(err, hold.ErrSpent) || got.State != broken.r.State {
			t.Errorf("%s: %v, %v; want ErrSpent", name, got.State, err)
		}
	}
}

func TestAnUnansweredRedemptionIsUnknownOnlyWhenItsRedeemerIsGone(t *testing.T) {
	r := inState(hold.Spent)
	attach := func(gone string, after time.Duration) error {
		_, err := hold.Step(r, hold.Event{Kind: hold.EventAttached, Caller: "desk2.1", Gone: gone}, r.SpentAt.Add(after))
		return err
	}
	if err := attach("", 9*time.Minute); !errors.Is(err, hold.ErrDuplicate) {
		t.Errorf("redeemer alive: %v, want ErrDuplicate", err)
	}
	if err := attach("desk1", 10*time.Minute-1); !errors.Is(err, hold.ErrOutcomeUnknown) {
		t.Errorf("redeemer gone: %v, want ErrOutcomeUnknown", err)
	}
	if err := attach("desk1", 10*time.Minute); !errors.Is(err, hold.ErrTransition) {
		t.Errorf("ten minutes later: %v, want a new hold", err)
	}
}

func TestACallerTakesThePlaceOnlyOfOneThatIsGone(t *testing.T) {
	r := inState(hold.Pending)
	if _, err := hold.Step(r, hold.Event{Kind: hold.EventAttached, Caller: "desk2.1", Gone: "desk1.9"}, noon); !errors.Is(err, hold.ErrDuplicate) {
		t.Errorf("somebody else is gone: %v, want ErrDuplicate", err)
	}
	got, err := hold.Step(r, hold.Event{Kind: hold.EventAttached, Caller: "desk2.1", Gone: "desk1.1"}, noon)
	if err != nil || got.Caller != "desk2.1" {
		t.Errorf("that caller is gone: %q, %v", got.Caller, err)
	}
	if _, err := hold.Step(got, hold.Event{Kind: hold.EventLeft, Caller: "desk1.1"}, noon); !errors.Is(err, hold.ErrTransition) {
		t.Errorf("the former caller leaves: %v, want ErrTransition", err)
	}
}

func TestAStateReadsBackAsItWasWritten(t *testing.T) {
	for state := range int(hold.Expired) + 1 {
		text, err := hold.State(state).MarshalText()
		var back hold.State
		if err != nil || back.UnmarshalText(text) != nil || back != hold.State(state) {
			t.Errorf("%v came back as %v, %v", hold.State(state), back, err)
		}
	}
	back := hold.Approved
	if err := back.UnmarshalText([]byte("aproved")); err == nil || back != hold.Unopened {
		t.Errorf("unknown name: %v, %v; want an error and unopened", back, err)
	}
}

func with(r hold.Record, change func(*hold.Record)) hold.Record {
	change(&r)
	return r
}

func TestAnOutcomeGivenToACallerThatDiedIsNotGivenAgain(t *testing.T) {
	r := inState(hold.Denied)
	r.Caller, r.LeftAt = "", noon
	given, err := hold.Step(r, hold.Event{Kind: hold.EventAttached, Caller: "desk1.2"}, noon)
	if err != nil || !given.Delivered {
		t.Fatalf("first: delivered %v, %v", given.Delivered, err)
	}
	if _, err := hold.Step(given, hold.Event{Kind: hold.EventAttached, Caller: "desk2.1", Gone: "desk1.2"}, noon); !errors.Is(err, hold.ErrTransition) {
		t.Errorf("second: %v, want a new hold", err)
	}
	back, err := hold.Step(given, hold.Event{Kind: hold.EventLeft, Caller: "desk1.2"}, noon)
	if err != nil || back.Delivered {
		t.Errorf("the caller left without it: delivered %v, %v", back.Delivered, err)
	}
}
