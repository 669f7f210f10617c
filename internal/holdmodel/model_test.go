package holdmodel_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"countersign/internal/hold"
	"countersign/internal/holdmodel"
)

func TestNoRunOfABoundedWorldBreaksAProperty(t *testing.T) {
	reached, events, total := map[hold.State]bool{}, map[hold.Kind]bool{}, 0
	for _, c := range holdmodel.Bounded() {
		r := explore(t, c)
		total += r.States
		maps.Copy(reached, r.Reached)
		maps.Copy(events, r.Events)
	}
	t.Logf("%d states in all", total)
	for s := range all(hold.State.String) {
		if !reached[hold.State(s)] {
			t.Errorf("no hold is ever %v", hold.State(s))
		}
	}
	for k := range all(hold.Kind.String) {
		if kind := hold.Kind(k); !events[kind] && kind != hold.EventNone && kind != hold.EventAsking { // those change nothing
			t.Errorf("no hold is ever %v", kind)
		}
	}
}

func explore(t *testing.T, c holdmodel.Config) holdmodel.Result {
	t.Helper()
	r, err := holdmodel.Explore(c)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	t.Logf("%9d states %9d steps, %2d deep: %s", r.States, r.Steps, r.Depth, c.Name)
	if r.Violation != nil {
		t.Errorf("%s: %v", c.Name, r.Violation)
	}
	return r
}

// all returns the values that have a name.
func all[T ~uint8](name func(T) string) map[uint8]string {
	out := map[uint8]string{}
	for v := range 256 {
		if s := name(T(v)); s != "unknown" {
			out[uint8(v)] = s
		}
	}
	return out
}

// A state or an event that is new to internal/hold is new to the model: say here, and there, what becomes of it.
func TestTheModelKnowsEveryStateAndEvent(t *testing.T) {
	states := []string{
		"unopened", "pending", "approved", "spent", "denied", "timed_out", "fraud", "not_enrolled", "locked_out", "unavailable",
		"withdrawn", "expired",
	}
	kinds := []string{
		"none", "opened", "attached", "left", "delivered", "adopted", "asked", "settled", "timed_out", "abandoned", "withdrawn",
		"faulted", "redeemed", "answered", "expired", "asking",
	}
	for what, c := range map[string]struct{ got, want []string }{
		"states": {names(all(hold.State.String)), states},
		"events": {names(all(hold.Kind.String)), kinds},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("internal/hold has the %s %q, the model %q", what, c.got, c.want)
		}
	}
}

func names(m map[uint8]string) []string {
	var out []string
	for _, v := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[v])
	}
	return out
}

// Each fault is one that a change to the code could make, and must break the property named in the world named.
func TestEverySeededFaultIsFound(t *testing.T) {
	worlds := map[string]holdmodel.Config{}
	for _, c := range append(holdmodel.Bounded(), holdmodel.Large()...) {
		worlds[c.Name] = c
	}
	seen := holdmodel.Bug(0)
	for _, c := range []struct {
		bug         holdmodel.Bug
		world, want string
	}{
		{holdmodel.SendBeforeRedeem, "two persons, and other octets", "I3: a request is sent though its exchange did not spend the approval"},
		{holdmodel.StoreWithoutRevision, "three callers", "table: a pending hold is given up for a new one"},
		{holdmodel.ClaimWithoutRevision, "two operations of one person", "I10: a phone shows two pushes"},
		{holdmodel.AdoptLiveOwner, "a journal that fails", "resume: a hold is taken from an owner that lives"},
		{holdmodel.RedeemLapsed, "everybody slow", "I1: an approval is redeemed later than resume allows"},
		{holdmodel.RedeemOtherBytes, "two persons, and other octets", "I2: other octets are sent than were approved"},
		{holdmodel.RedeemOnError, "a ledger that fails", "I3: a request is sent though its exchange did not spend the approval"},
		{holdmodel.RedeemedNotRecorded, "every verdict", "I9: a request is sent before its redemption is in the journal"},
		{holdmodel.SettleNotRecorded, "an operator", "I9: a hold ends in the ledger before the journal has it"},
		{holdmodel.AskNotRecorded, "a journal that fails", "I9: a person is asked about a hold that the journal does not have"},
		{holdmodel.StartAgain, "a provider that fails", "I10: a start is repeated"},
		{holdmodel.AdoptedStartsAgain, "a replica that sleeps", "I9: a person is asked about a hold that the journal does not have"},
		{holdmodel.ReleaseWhileRinging, "a provider that fails", "I10: a phone shows two pushes"},
		{holdmodel.ForgetRedeemed, "a retry after a crash", "I12: a request of which nobody knows what became"},
		{holdmodel.ForgetUndelivered, "an operator", "table: an outcome that nobody received is withheld"},
		{holdmodel.DeliverAgain, "every verdict", "table: an outcome is given twice"},
		{holdmodel.SecondCaller, "three callers", "table: two callers are attached to one hold"},
		{holdmodel.KeyWithoutRequester, "two persons, and other octets", "I6: somebody else's approval is redeemed"},
		{holdmodel.NoClock, "callers who come back", "progress: a hold never ends"},
		{holdmodel.OwnChangeIsForeign, "a ledger that fails", "resume: the person was asked, and nobody waits for the answer"},
		{holdmodel.PushAfterEnd, "two operations of one person", "I10: a person is asked about a hold whose time is over"},
		{holdmodel.PushForgottenAtEnd, "a push at the last moment", "I10: a phone shows two pushes"},
	} {
		seen |= c.bug
		w := worlds[c.world]
		w.Bugs = c.bug
		r, err := holdmodel.Explore(w)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.world, err)
		case r.Violation == nil:
			t.Errorf("fault %b: not found among %d states of %q", c.bug, r.States, c.world)
		case !strings.HasPrefix(r.Violation.Property, c.want):
			t.Errorf("fault %b in %q breaks %v\nwant %s", c.bug, c.world, r.Violation, c.want)
		case len(r.Violation.Trace) < 5 || strings.Contains(r.Violation.String(), ". \n"):
			t.Errorf("the run that shows it cannot be read:\n%v", r.Violation)
		}
	}
	if seen != holdmodel.AllBugs {
		t.Errorf("faults that no world is tried with: %b", holdmodel.AllBugs&^seen)
	}
}

func TestWhatCannotBeExploredIsRefused(t *testing.T) {
	good := holdmodel.Bounded()[0]
	for name, change := range map[string]func(*holdmodel.Config){
		"nobody":          func(c *holdmodel.Config) { c.Exchanges = nil },
		"too many":        func(c *holdmodel.Config) { c.Exchanges = make([]holdmodel.Exchange, 5) },
		"no time":         func(c *holdmodel.Config) { c.Moments = nil },
		"time runs back":  func(c *holdmodel.Config) { slices.Reverse(c.Moments) },
		"no such moment":  func(c *holdmodel.Config) { c.LastStart = 99 },
		"no time-out":     func(c *holdmodel.Config) { c.Timeout = 0 },
		"negative budget": func(c *holdmodel.Config) { c.Crashes = -1 },
	} {
		c := good
		c.Moments = slices.Clone(good.Moments)
		change(&c)
		if _, err := holdmodel.Explore(c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	c := good
	c.MaxStates = 1000
	if r, err := holdmodel.Explore(c); err != nil || r.Complete || r.States > 2000 {
		t.Errorf("a limit of 1000 states gave %d, complete: %v, %v", r.States, r.Complete, err)
	}
}
