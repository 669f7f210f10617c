package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/traceless"
)

// startFleet starts two replicas in this process, between the same simulated services and over one ledger. change may alter
// the options and the folder of the second one.
func startFleet(t *testing.T, o options, change func(o *options, dir string)) (a, b *rig) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	for !s.ReadyForConnections(time.Second) {
		if t.Context().Err() != nil {
			t.Fatal("the NATS server does not start")
		}
	}
	if o.ledgerKey == "" {
		o.ledgerKey = rand.Text() + rand.Text()
	}
	o.extra += fmt.Sprintf("\nledger: {url: %q, replicas: 1, key: %q%s}\n", s.ClientURL(), o.ledgerKey, o.ledger)
	a = start(t, o)
	other := *a
	b = &other
	b.dir, b.log = t.TempDir(), &syncBuffer{}
	if err := os.CopyFS(filepath.Join(b.dir, "keys"), os.DirFS(filepath.Join(a.dir, "keys"))); err != nil {
		t.Fatal(err)
	}
	b.write("graph-ca.pem", a.graph.CertPEM())
	b.write("duo-ca.pem", a.duo.CertPEM())
	for name, content := range o.files {
		b.write(name, content)
	}
	if change != nil {
		change(&o, b.dir)
	}
	o.graph = a.graph.Addr()
	b.write("sidecar.yaml", []byte(b.yaml(o)))
	b.run()
	for _, r := range []*rig{a, b} {
		r.eventually("the ledger", func() bool { return r.readiness()["ledger"] == "ready" })
	}
	return a, b
}

// readiness is what each check says, by name.
func (r *rig) readiness() map[string]string {
	r.t.Helper()
	var body struct {
		Checks []struct{ Name, Status string }
	}
	r.control("/readyz", "Authorization", "Bearer "+ctlToken, &body)
	out := map[string]string{}
	for _, c := range body.Checks {
		out[c.Name] = c.Status
	}
	return out
}

// control reads from the control listener, with one header.
func (r *rig) control(path, name, value string, into any) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.sidecar.Addr("control")+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set(name, value)
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		r.t.Fatalf("%s answered %d %s: %v", path, resp.StatusCode, raw, err)
	}
	return resp.StatusCode
}

// held sends the reset of a caller that does not wait for long.
func (r *rig) held(c *http.Client) answer {
	r.t.Helper()
	a := r.reset(c, "Countersign-Wait", "0")
	if a.code() != "verification_pending" {
		r.t.Fatalf("answer = %d %s, want it pending", a.status, a.body)
	}
	return a
}

// sent fails unless Graph got the reset n times, for n pushes in all.
func (r *rig) sent(sent, pushes int) {
	r.t.Helper()
	if n, p := len(r.graph.Received(http.MethodPatch, bobPath)), len(r.duo.Pushes()); n != sent || p != pushes {
		r.t.Errorf("upstream got %d requests for %d pushes, want %d for %d", n, p, sent, pushes)
	}
}

func TestACallerThatLeavesOneReplicaGetsItsAnswerAtAnother(t *testing.T) {
	t.Parallel()
	a, b := startFleet(t, options{}, nil)
	a.duo.Add(duo.Person{Username: alice}) // answered by hand
	ctx, cut := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		if got, err := a.try(ctx, a.client(alice), http.MethodPatch, bobURL, resetBody); err == nil {
			t.Errorf("the caller that was cut off got %d", got.status)
		}
	})
	txid := a.pushed(1)
	if got := b.reset(b.client(alice)); got.code() != "duplicate_in_flight" {
		t.Errorf("an identical caller at the other replica got %d %s", got.status, got.code())
	}
	cut()
	first.Wait()
	b.until(b.client(alice), "verification_pending", "Countersign-Wait", "0")
	if err := a.duo.Answer(txid, "approve"); err != nil {
		t.Fatal(err)
	}
	if got := b.until(b.client(alice), ""); got.status != http.StatusNoContent {
		t.Errorf("the caller that came back got %d %s", got.status, got.body)
	}
	b.sent(1, 1)
	if got := a.reset(a.client(alice), "Countersign-Wait", "0"); got.code() != "verification_pending" {
		t.Errorf("once more at the first replica: %d %s, want a hold of its own", got.status, got.code())
	}
	a.eventually("the second push", func() bool { return len(a.duo.Pushes()) == 2 })
	b.sent(1, 2)
}

func TestACallerThatDoesNotWaitWatchesAndClaimsAtAnotherReplica(t *testing.T) {
	t.Parallel()
	a, b := startFleet(t, options{}, nil)
	a.duo.Add(duo.Person{Username: alice})
	got := a.reset(a.client(alice), "Countersign-Wait", "async")
	id := got.header.Get("Countersign-Hold")
	if got.status != http.StatusAccepted || !strings.HasSuffix(got.header.Get("Location"), a.sidecar.Addr("control")+"/v1/holds/"+id) {
		t.Fatalf("answer = %d %s, Location %q", got.status, got.body, got.header.Get("Location"))
	}
	if err := a.duo.Answer(a.pushed(1), "approve"); err != nil {
		t.Fatal(err)
	}
	var view struct{ Status string }
	b.eventually("the approval, at the other replica", func() bool {
		return b.control("/v1/holds/"+id+"?wait=10", "Countersign-Assertion", b.assertion(alice), &view) == http.StatusOK && view.Status != "pending"
	})
	if view.Status != "approved" {
		t.Errorf("the hold is %+v", view)
	}
	if code := b.control("/v1/holds/"+id, "Countersign-Assertion", b.assertion(bob), &struct{}{}); code != http.StatusNotFound {
		t.Errorf("somebody else's look at it = %d, want 404", code)
	}
	b.sent(0, 1)
	if got := b.reset(b.client(alice)); got.status != http.StatusNoContent {
		t.Errorf("claimed at the other replica: %d %s", got.status, got.body)
	}
	b.sent(1, 1)
}

// rules puts Rego of the security team's into the second replica's policy alone.
func rules(rego string) func(o *options, dir string) {
	return func(o *options, dir string) {
		o.extra += "\npolicy: {paths: [rules.rego]}\n"
		if err := os.WriteFile(filepath.Join(dir, "rules.rego"), []byte("package countersign.rules\n\nimport rego.v1\n\n"+rego), 0o600); err != nil {
			panic(err)
		}
	}
}

func TestAnApprovalIsRedeemedUnderThePolicyOfTheReplicaThatReleases(t *testing.T) {
	t.Parallel()
	a, b := startFleet(t, options{}, rules(`step_up contains {"code": "newer", "text": "A newer rule."} if input.operation.category == "credential_reset"`))
	a.duo.Add(duo.Person{Username: alice})
	a.held(a.client(alice))
	if err := a.duo.Answer(a.pushed(1), "approve"); err != nil {
		t.Fatal(err)
	}
	if got := b.until(b.client(alice), ""); got.status != http.StatusNoContent {
		t.Fatalf("answer = %d %s", got.status, got.body)
	}
	b.sent(1, 1)
	asked, released := of(a.journal(), audit.HoldOpened), of(b.journal(), audit.Redeemed)
	if len(asked) != 1 || len(released) != 1 || asked[0].Hold != released[0].Hold || asked[0].Revision == "" || released[0].Revision == "" {
		t.Fatalf("asked as %+v, released as %+v", asked, released)
	}
	if released[0].Revision == asked[0].Revision || released[0].Asked != asked[0].Revision {
		t.Errorf("asked under %s, released under %s and %s", asked[0].Revision, released[0].Revision, released[0].Asked)
	}
}

// of returns the records of one kind.
func of(events []audit.Event, kind string) (out []audit.Event) {
	for _, e := range events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func TestAnApprovalThatDoesNotMeetThePolicyOfTheOtherReplicaReleasesNothing(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ rego, code string }{
		"asks for more": {`requirement contains {"amr": ["hwk"]} if input.operation.category == "credential_reset"`, "requirement_changed"},
		"denies it":     {`deny contains {"code": "frozen", "text": "Changes are frozen."} if input.operation.category == "credential_reset"`, "policy_denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := startFleet(t, options{}, rules(tt.rego))
			a.duo.Add(duo.Person{Username: alice})
			a.held(a.client(alice))
			if err := a.duo.Answer(a.pushed(1), "approve"); err != nil {
				t.Fatal(err)
			}
			if got := b.until(b.client(alice), tt.code); got.status != http.StatusForbidden {
				t.Errorf("answer = %d %s", got.status, got.body)
			}
			b.sent(0, 1)
			if got := a.until(a.client(alice), ""); got.status != http.StatusNoContent { // where the approval is still good
				t.Errorf("at the replica that asked: %d %s", got.status, got.body)
			}
			b.sent(1, 1)
		})
	}
}

func TestACallbackAtAnotherReplicaWakesTheHold(t *testing.T) {
	t.Parallel()
	var to atomic.Pointer[string]
	sim, err := traceless.Start(traceless.Options{Deliver: func(ctx context.Context, h http.Header, body []byte) {
		traceless.CallbackTo(&http.Client{Timeout: time.Minute}, *to.Load())(ctx, h, body)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() }) // nothing to lose
	sim.Add(alice, traceless.Ignore())
	o := options{
		files:     map[string][]byte{"traceless-ca.pem": sim.CertPEM()},
		callback:  "127.0.0.1:0",
		providers: fmt.Sprintf("  traceless: {type: traceless, endpoint: %q, organization: %q, signing_secret: %q, push_method: Microsoft Authenticator, root_cas: traceless-ca.pem, adapter: {interval: 1m}}", sim.Endpoint(), sim.Organization(), sim.SigningSecret()),
		config:    "verification: {providers: [traceless], max_wait: 0s}",
	}
	a, b := startFleet(t, o, nil)
	url := "http://" + b.sidecar.Addr("callback") + "/v1/callbacks/traceless"
	to.Store(&url)
	polls := func() (n int) {
		for _, r := range sim.Requests() {
			if r.Method == http.MethodGet && strings.Contains(r.Target, "/mfa/") {
				n++
			}
		}
		return n
	}
	answered := make(chan answer, 1)
	go func() {
		got, err := a.try(t.Context(), a.client(alice), http.MethodPatch, bobURL, resetBody)
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	a.eventually("the first poll", func() bool { return polls() > 0 }) // the next one is a minute later
	if err := sim.Answer(sim.Challenges()[0].Transaction, "approve"); err != nil {
		t.Fatal(err)
	}
	a.eventually("the answer, long before the next poll is due", func() bool { return len(answered) == 1 })
	if got := <-answered; got.status != http.StatusNoContent {
		t.Errorf("answer = %d %s", got.status, got.body)
	}
	if n := len(a.graph.Received(http.MethodPatch, bobPath)); n != 1 {
		t.Errorf("upstream got %d requests, want 1", n)
	}
}
