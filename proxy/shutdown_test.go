package proxy_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
)

func TestHoldsEndWhenTheSidecarStops(t *testing.T) {
	w := newWorld(t, nil)
	got := make(chan answer, 1)
	go func() { got <- w.patch(alice()) }()
	<-w.desk.arrived
	if err := w.server.Shutdown(t.Context()); err != nil { // the desk has not been told: the proxy wakes its callers itself
		t.Errorf("Shutdown = %v", err)
	}
	w.want(<-got, 503, "draining")
	if len(w.arrived()) != 0 || w.desk.leavings(t, 1)[0] {
		t.Error("forwarded, or left as delivered")
	}
}

func TestACallerIsKeptForMaxWaitAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for wait, want := range map[string]time.Duration{"": 55 * time.Second, "7": 7 * time.Second, "100": 55 * time.Second} {
			start := time.Now()
			p := newPipeWorld(t, 55*time.Second)
			if a := p.patch(t, wait); a.code() != "verification_pending" || time.Since(start) != want {
				t.Errorf("Countersign-Wait %q: answer %q after %v, want pending after %v", wait, a.code(), time.Since(start), want)
			}
			p.end(t)
		}
	})
}

func TestWithoutMaxWaitACallerIsKeptUntilTheOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipeWorld(t, 0)
		start := time.Now()
		time.AfterFunc(4*time.Minute, func() { p.desk.settle(hold.TimedOut) })
		if a := p.patch(t, ""); a.code() != "verification_timed_out" || time.Since(start) != 4*time.Minute {
			t.Errorf("answer %q after %v", a.code(), time.Since(start))
		}
		p.end(t)
	})
}

// A redeemed call whose upstream never answers outlives no stop: shortly before its end the caller is told that nobody knows,
// and the journal has it.
func TestARedeemedCallIsCutOffBeforeAStopEnds(t *testing.T) {
	arrived, hung := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(hung)
	})
	w.desk.settle(hold.Approved)
	var a answer
	done := make(chan error, 1)
	go func() {
		var err error
		a, err = w.try(t.Context(), w.agent(false, nil), "PATCH", "https://"+apiHost+"/", reset, alice())
		done <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown = %v, want an orderly end", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("the caller was cut off: %v", err)
	}
	w.want(a, 403, "outcome_unknown")
	if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != "outcome_unknown" {
		t.Errorf("completed = %+v", e)
	}
	<-hung
}
