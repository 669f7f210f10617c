//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
)

// Holds and callers of the fleet test; COUNTERSIGN_FLEET_HOLDS sets the first.
const (
	fleetHolds   = 1000
	fleetCallers = 96
)

// Issue of I3: whatever callers, replicas and ledger nodes do, each approval executes once, or its outcome is reported as
// unknown; nothing executes without one.
func TestEveryApprovedOperationIsExecutedOnceWhateverDies(t *testing.T) {
	holds := fleetHolds
	if n, err := strconv.Atoi(os.Getenv("COUNTERSIGN_FLEET_HOLDS")); err == nil && n > 0 {
		holds = n
	}
	f := startProcessFleet(t, func(path string) time.Duration {
		if strings.HasSuffix(path, "7@contoso.com") {
			return 2 * time.Second // so that some are under way whenever something dies
		}
		return 5 * time.Millisecond
	})
	ops := make([]*job, holds)
	for i := range ops {
		script := duo.Approve()
		if i%10 == 3 {
			script = duo.Deny()
		}
		script.After = time.Duration(i*37%2000) * time.Millisecond
		ops[i] = f.job(i, script)
	}
	began := time.Now()
	f.runAll(ops, func(done int) {
		switch done {
		case holds / 4:
			leader := f.nats.leader(t)
			t.Logf("%v: %d done, killing %s, which leads", time.Since(began), done, leader)
			_ = f.nats.nodes[leader].end(syscall.SIGKILL) // an error is what is meant
		case holds / 2:
			t.Logf("%v: %d done, killing A", time.Since(began), done)
			f.replicas[0].kill()
		case holds * 5 / 8:
			t.Logf("%v: %d done, starting A again", time.Since(began), done)
			f.replicas[0].run()
		}
	})
	t.Logf("%d holds in %v; %d callers reset; %d pushes; answers: %v", holds, time.Since(began), f.resets.Load(), len(f.duo.Pushes()), f.heard)
	slowest := slices.MaxFunc(ops, func(a, b *job) int { return len(a.history) - len(b.history) })
	t.Logf("the most patient caller, of %s: %q", slowest.path, slowest.history)
	f.judge(ops)
}

// runAll sees all operations to their end, and says after each how many are done. What is done at those points is done once
// and in order, while the others go on.
func (f *processFleet) runAll(ops []*job, passed func(done int)) {
	work, done := make(chan *job), make(chan struct{}, len(ops))
	var callers, watcher sync.WaitGroup
	for range fleetCallers {
		callers.Go(func() {
			for o := range work {
				f.see(o)
				done <- struct{}{}
			}
		})
	}
	watcher.Go(func() {
		for n := 1; n <= len(ops); n++ {
			<-done
			passed(n)
		}
	})
	for _, o := range ops {
		work <- o
	}
	close(work)
	callers.Wait()
	watcher.Wait()
}

// tally is what became of one operation, by all that was recorded about it.
type tally struct {
	approved int            // pushes
	holds    map[string]int // redeemed, by id: how many answers of upstream the journals have
}

func (f *processFleet) judge(ops []*job) {
	f.t.Helper()
	tallies := map[string]*tally{}
	byPerson := map[string]*tally{}
	for _, o := range ops {
		tallies[o.path] = &tally{holds: map[string]int{}}
		byPerson[o.person] = tallies[o.path]
	}
	approved := map[string]bool{}
	for _, p := range f.duo.Pushes() {
		if p.Result == "allow" && p.Status == "allow" {
			approved[p.TxID] = true
			byPerson[p.Username].approved++
		}
	}
	redeeming, ends := map[string]string{}, map[string]int{} // by exchange; by code, those that upstream did not answer
	for _, r := range f.replicas {
		began := time.Now()
		r.stop()
		f.t.Logf("%s stopped in %v", r.name, time.Since(began))
		for _, e := range r.journal() {
			ta := tallies[e.Path]
			switch {
			case e.Kind == audit.Redeemed:
				if e.Evidence == nil || !approved[e.Evidence.Transaction] {
					f.t.Errorf("%s redeemed hold %s of %s, which nobody approved: %+v", r.name, e.Hold, e.Path, e.Evidence)
				}
				ta.holds[e.Hold] += 0
				redeeming[e.Exchange] = e.Path
			case e.Kind == audit.Completed && e.Upstream != 0:
				ta.holds[e.Hold]++
				delete(redeeming, e.Exchange)
			case e.Kind == audit.Completed && redeeming[e.Exchange] != "":
				ends[e.Code]++
				delete(redeeming, e.Exchange)
			}
		}
	}
	outcomes, unknown := map[string]int{}, 0
	for _, o := range ops {
		outcomes[o.outcome]++
		n, _ := f.api.executions(o.path)
		unknown += f.judgeOne(o, tallies[o.path], n)
	}
	f.t.Logf("outcomes: %v; %d redemptions without an answer of upstream's, of which %d without any end and the others refused: %v",
		outcomes, unknown, len(redeeming), ends)
}

// judgeOne returns how many redemptions of an operation have no known outcome.
func (f *processFleet) judgeOne(o *job, ta *tally, executed int) (unknown int) {
	f.t.Helper()
	answered := 0
	for id, n := range ta.holds {
		switch n {
		case 0:
			unknown++
		case 1:
			answered++
		default:
			f.t.Errorf("hold %s of %s was answered by upstream %d times", id, o.path, n)
		}
	}
	switch {
	case executed > ta.approved || executed > len(ta.holds):
		f.t.Errorf("%s: executed %d times for %d approvals and %d redemptions", o.path, executed, ta.approved, len(ta.holds))
	case executed < answered:
		f.t.Errorf("%s: the journals have %d answers for %d executions", o.path, answered, executed)
	}
	switch {
	case o.denies && o.outcome == "verification_denied" && executed == 0:
	case !o.denies && o.outcome == "" && executed > 0:
	case !o.denies && o.outcome == "outcome_unknown" && unknown > 0:
	default:
		f.t.Errorf("%s (denies: %v) ended with %q, executed %d times, redeemed as %v: %q",
			o.path, o.denies, o.outcome, executed, slices.Collect(maps.Keys(ta.holds)), o.history)
	}
	return unknown
}

// journal verifies the chain of a replica's journal and returns its records.
func (r *replica) journal() (events []audit.Event) {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "state", "journal.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := audit.Verify(r.t.Context(), bytes.NewReader(raw)); err != nil {
		r.t.Errorf("%s: the journal's chain: %v", r.name, err)
	}
	for line := range strings.Lines(string(raw)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Errorf("%s: journal line %s: %v", r.name, line, err)
		}
		events = append(events, e)
	}
	return events
}

// The replica that redeemed a call dies before the answer. The other one reports it, for as long as nobody can know.
func TestACrashAfterRedemptionIsReportedAtTheOtherReplica(t *testing.T) {
	f := startProcessFleet(t, func(string) time.Duration { return time.Hour })
	script := duo.Approve()
	script.After = 0
	o := f.job(1, script)
	a, b := f.replicas[0], f.replicas[1]
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		if got, err := f.send(t.Context(), a, o, ""); err == nil {
			t.Errorf("the caller of the replica that died got %d %s", got.status, got.body)
		}
	}()
	for {
		n, more := f.api.executions(o.path)
		if n > 0 {
			break
		}
		select {
		case <-more:
		case <-lost:
			t.Fatal("the call ended before it was sent")
		}
	}
	if got, err := f.send(t.Context(), b, o, ""); err != nil || got.code() != "duplicate_in_flight" {
		t.Errorf("while it is under way: %d %s, %v, want duplicate_in_flight", got.status, got.code(), err)
	}
	a.kill()
	<-lost
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	code := "duplicate_in_flight" // until the dead one's lease has run out
	for code == "duplicate_in_flight" {
		<-tick.C
		got, err := f.send(t.Context(), b, o, "")
		if err != nil {
			t.Fatal(err)
		}
		code = got.code()
	}
	n, _ := f.api.executions(o.path)
	if code != "outcome_unknown" || n != 1 || len(f.duo.Pushes()) != 1 {
		t.Errorf("after the crash: %s, %d executions, %d pushes, want outcome_unknown with one of each", code, n, len(f.duo.Pushes()))
	}
	a.run() // its own journal and the ledger say the same
	if got, err := f.send(t.Context(), a, o, ""); err != nil || got.status != http.StatusForbidden || got.code() != "outcome_unknown" {
		t.Errorf("at the replica that came back: %d %s, %v, want outcome_unknown", got.status, got.code(), err)
	}
}
