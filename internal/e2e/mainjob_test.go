package e2e

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
)

// Issue of every answer that Duo can give: nothing but allow/allow forwards, and each has its own code.
func TestOnlyAnApprovalForwards(t *testing.T) {
	for _, tt := range []struct {
		name       string
		script     duo.Script
		code       string // "" forwards
		pushes     int
		escalation bool
	}{
		{"approve", duo.Approve(), "", 1, false},
		{"deny", duo.Deny(), "verification_denied", 1, false},
		{"timeout", duo.Ignore(), "verification_timed_out", 1, false},
		{"fraud", duo.Fraud(), "verification_fraud", 1, true},
		{"enrol", duo.Enroll(), "verification_not_enrolled", 0, true},
		{"bypass at preauth", duo.Bypass(), "verification_unavailable", 0, true},
		{"bypass at the answer", duo.AllowBypass(), "verification_unavailable", 1, true},
		{"locked out at preauth", duo.Refused(), "verification_locked_out", 0, true},
		{"locked out at the answer", duo.LockedOut(), "verification_locked_out", 1, true},
		{"throttled", duo.Throttle(), "verification_unavailable", 0, true},
		{"a code is required", duo.VerifiedPush(), "verification_unavailable", 0, true},
		{"an unknown status", duo.Unknown("allow", "new_status"), "verification_unavailable", 1, true},
		{"an unknown result", duo.Unknown("perhaps", "allow"), "verification_unavailable", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, options{lifetime: 2 * time.Second})
			r.duo.Add(duo.Person{Username: alice, Script: tt.script})
			a := r.reset(r.client(alice))
			got := r.graph.Received(http.MethodPatch, bobPath)
			if tt.code == "" {
				if a.status != http.StatusNoContent || len(got) != 1 {
					t.Errorf("answer = %d %s, sent %d times, want 204 once", a.status, a.body, len(got))
				}
			} else if a.status != http.StatusForbidden || a.code() != tt.code || len(got) != 0 {
				t.Errorf("answer = %d %s, sent %d times, want 403 %s and nothing sent", a.status, a.body, len(got), tt.code)
			}
			if n := len(r.duo.Pushes()); n != tt.pushes {
				t.Errorf("%d pushes were sent, want %d", n, tt.pushes)
			}
			if strings.Contains(a.body, "notified") {
				t.Errorf("the sentence claims a notification that nobody configured: %s", a.body)
			}
			escalated := false
			for _, e := range r.journal() {
				escalated = escalated || e.Kind == audit.Escalation
			}
			if escalated != tt.escalation {
				t.Errorf("escalation recorded = %v, want %v", escalated, tt.escalation)
			}
			r.noSecrets()
		})
	}
}

func TestTheBytesThatWereApprovedGoUpstreamAndReservedHeadersDoNot(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	body := "{ \"passwordProfile\" : {\"password\":\"" + password + "\"}\n}"
	a := r.do(r.client(""), http.MethodPatch, bobURL, body, "Countersign-Assertion", r.assertion(alice), "Idempotency-Key", "k1",
		"Countersign-Approved", "true", "X-Custom", "stays")
	if a.status != http.StatusNoContent {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	got := r.graph.Received(http.MethodPatch, bobPath)
	if len(got) != 1 || !bytes.Equal(got[0].Body, []byte(body)) {
		t.Fatalf("upstream got %d requests, body %q, want the bytes sent", len(got), got)
	}
	for name := range got[0].Header {
		if strings.HasPrefix(name, "Countersign") || strings.HasPrefix(name, "Proxy-") {
			t.Errorf("upstream got the reserved header %s", name)
		}
	}
	if got[0].Header.Get("X-Custom") != "stays" || got[0].Header.Get("Idempotency-Key") != "k1" || got[0].Header.Get("Authorization") != "Bearer "+r.token {
		t.Errorf("upstream lacks headers of the caller: %v", got[0].Header)
	}
	if want := "received-status=204"; !strings.Contains(a.header.Get("Proxy-Status"), want) {
		t.Errorf("Proxy-Status = %q, want %s", a.header.Get("Proxy-Status"), want)
	}
}

func TestEveryAttemptNeedsAFreshVerification(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	c := r.client(alice)
	for n := 1; n <= 2; n++ {
		if a := r.reset(c); a.status != http.StatusNoContent || len(r.duo.Pushes()) != n {
			t.Fatalf("attempt %d = %d %s, %d pushes", n, a.status, a.body, len(r.duo.Pushes()))
		}
	}
	if err := r.duo.Script(alice, duo.Deny()); err != nil {
		t.Fatal(err)
	}
	for n := 3; n <= 4; n++ {
		if a := r.reset(c); a.code() != "verification_denied" || len(r.duo.Pushes()) != n {
			t.Fatalf("attempt %d = %d %s, %d pushes", n, a.status, a.body, len(r.duo.Pushes()))
		}
	}
	if n := len(r.graph.Received(http.MethodPatch, bobPath)); n != 2 {
		t.Errorf("upstream got %d requests, want 2", n)
	}
}

func TestACallerThatWasCutOffAttachesAgainAndTwoAtOnceAreADuplicate(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice}) // answered by hand
	c := r.client(alice)

	ctx, cut := context.WithCancel(t.Context())
	var first sync.WaitGroup
	first.Go(func() {
		if a, err := r.try(ctx, c, http.MethodPatch, bobURL, resetBody); err == nil {
			t.Errorf("the caller that was cut off got %d", a.status)
		}
	})
	txid := r.pushed(1)
	if a := r.reset(r.client(alice)); a.code() != "duplicate_in_flight" {
		t.Errorf("a second identical caller got %d %s", a.status, a.code())
	}
	other := r.do(c, http.MethodPatch, bobURL, resetBody, "Authorization", "Bearer opaque-other-token", "Countersign-Wait", "0")
	if other.code() != "verification_pending" {
		t.Errorf("the same call under another token got %d %s, want a hold of its own", other.status, other.code())
	}
	cut()
	first.Wait()

	if a := r.until(c, "verification_pending", "Countersign-Wait", "0"); a.header.Get("Retry-After") != "1" {
		t.Errorf("pending without Retry-After: 1: %v", a.header)
	}
	if err := r.duo.Answer(txid, "approve"); err != nil {
		t.Fatal(err)
	}
	if a := r.until(c, ""); a.status != http.StatusNoContent {
		t.Errorf("the caller that came back got %d %s", a.status, a.body)
	}
	if n := len(r.graph.Received(http.MethodPatch, bobPath)); n != 1 {
		t.Errorf("upstream got %d requests, want 1: the other token's call was never approved", n)
	}
}

// pushed waits until n pushes were sent and returns the transaction of the last.
func (r *rig) pushed(n int) string {
	r.t.Helper()
	r.eventually("the push", func() bool { return len(r.duo.Pushes()) >= n })
	return r.duo.Pushes()[n-1].TxID
}

// eventually waits for what other processes are about to do.
func (r *rig) eventually(what string, done func() bool) {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if done() {
			return
		}
	}
	r.t.Fatalf("still waiting for %s", what)
}

// until repeats the reset until it is answered with code ("" is an answer of upstream's), as SDKs repeat a 503. A caller that
// was cut off is noticed a moment later, so duplicate_in_flight may come first.
func (r *rig) until(c *http.Client, code string, header ...string) answer {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var a answer
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if a = r.reset(c, header...); a.code() == code {
			return a
		}
		if a.code() != "duplicate_in_flight" && a.code() != "verification_pending" {
			break
		}
	}
	r.t.Fatalf("answer = %d %s, want code %q", a.status, a.body, code)
	return a
}

func TestAStopDuringAHoldExecutesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice})
	c := r.client(alice)
	var wg sync.WaitGroup
	wg.Go(func() {
		if a, err := r.try(t.Context(), c, http.MethodPatch, bobURL, resetBody); err != nil || a.status != http.StatusServiceUnavailable || a.code() != "draining" {
			t.Errorf("the held caller got %d %s, %v, want 503 draining", a.status, a.code(), err)
		}
	})
	txid := r.pushed(1)
	if err := r.stop(); err != nil {
		t.Errorf("stop = %v", err)
	}
	wg.Wait()
	_ = r.duo.Answer(txid, "approve") // a late yes; the simulator may have seen the push taken back
	r.run()
	if n := len(r.graph.Received(http.MethodPatch, bobPath)); n != 0 {
		t.Errorf("upstream got %d requests, want none", n)
	}
	withdrawn := false
	for _, e := range r.journal() {
		withdrawn = withdrawn || e.Kind == audit.HoldEnded && e.State == "withdrawn"
	}
	if !withdrawn {
		t.Error("the journal does not say that the hold was withdrawn")
	}
}

func TestWhoAskedMustBeSigned(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	for name, tt := range map[string]struct {
		header []string
		code   string
	}{
		"nobody":         {nil, "requester_unknown"},
		"a plain header": {[]string{"Countersign-Requester", alice}, "requester_not_attested"},
		"a forged one":   {[]string{"Countersign-Assertion", r.assertion(alice) + "x"}, "requester_not_attested"},
	} {
		if a := r.reset(r.client(""), tt.header...); a.code() != tt.code {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.code(), tt.code)
		}
	}
	if len(r.duo.Pushes()) != 0 || len(r.graph.Received(http.MethodPatch, bobPath)) != 0 {
		t.Error("somebody was asked, or something sent")
	}
	if a := r.do(r.client(""), http.MethodGet, bobURL, ""); a.status != http.StatusOK {
		t.Errorf("an ordinary read without a requester = %d %s, want 200", a.status, a.body)
	}
}

func TestBothListenersAreOneExchange(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice})
	base := "http://" + r.sidecar.Addr("reverse") + "/graph.microsoft.com/v1.0/users/" + bob
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	jwt := r.assertion(alice)
	a := r.do(direct, http.MethodPatch, base, resetBody, "Countersign-Assertion", jwt, "Countersign-Wait", "0")
	if a.code() != "verification_pending" {
		t.Fatalf("by base URL: %d %s", a.status, a.body)
	}
	if err := r.duo.Answer(r.pushed(1), "approve"); err != nil {
		t.Fatal(err)
	}
	// The same call through the proxy attaches to that hold: same digest, same key.
	if a := r.until(r.client(""), "", "Countersign-Assertion", jwt); a.status != http.StatusNoContent {
		t.Errorf("through the proxy: %d %s", a.status, a.body)
	}
	if n := len(r.duo.Pushes()); n != 1 {
		t.Errorf("%d pushes, want 1", n)
	}
}

func TestEveryExchangeIsJoinedInTheJournal(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	c := r.client(alice)
	r.do(c, http.MethodGet, bobURL, "")
	r.reset(c)
	r.do(c, http.MethodPatch, bobURL, `{"a":1,"a":2}`)
	kinds := map[string][]string{}
	for _, e := range r.journal() {
		if e.Exchange != "" && e.Method != http.MethodConnect && (e.Kind == audit.Decision || e.Kind == audit.Redeemed || e.Kind == audit.Completed) {
			kinds[e.Exchange] = append(kinds[e.Exchange], e.Kind)
		}
	}
	seen := map[string]int{}
	for _, k := range kinds {
		seen[strings.Join(k, " ")]++
	}
	if seen["decision completed"] < 2 || seen["decision redeemed completed"] != 1 {
		t.Errorf("exchanges have records %v, want two with decision and completed, one with redeemed between", seen)
	}
}
