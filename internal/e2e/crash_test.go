package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/internal/sim/duo"
	"countersign/internal/sim/graph"
)

// A crash is a copy of the disk at that moment, on which another sidecar starts: the journal has the redemption and not its
// end. The identical request, under an opaque token too, is told that nobody knows and is not sent again (I3).
func TestACrashAfterRedemptionIsReportedAndNotRepeated(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	r.graph.Inject(graph.Fault{Method: http.MethodPatch, Delay: time.Hour})
	opaque := []string{"Authorization", "Bearer opaque-token-of-the-agent"}
	lost := make(chan struct{})
	c := r.client(alice)
	go func() {
		defer close(lost)
		_, _ = r.try(t.Context(), c, http.MethodPatch, bobURL, resetBody, opaque...) // its answer never comes
	}()
	r.eventually("the call reaches Graph", func() bool { return len(r.graph.Received(http.MethodPatch, bobPath)) == 1 })

	after := *r
	after.dir = t.TempDir()
	if err := os.CopyFS(after.dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(after.dir, "state", "ca", "ca.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	after.run()
	a := after.reset(after.client(alice), opaque...)
	if a.code() != "outcome_unknown" || len(r.graph.Received(http.MethodPatch, bobPath)) != 1 || len(r.duo.Pushes()) != 1 {
		t.Errorf("after the crash: %d %s, %d sent, %d pushes, want outcome_unknown with one of each",
			a.status, a.body, len(r.graph.Received(http.MethodPatch, bobPath)), len(r.duo.Pushes()))
	}
	r.graph.Close() // lets the first call end
	<-lost
}
