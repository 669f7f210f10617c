package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/policy"
	"countersign/proxy"
)

const reset = `{"passwordProfile":{"password":"x"}}`

func (w *world) patch(header http.Header) answer {
	w.t.Helper()
	return w.do(w.agent(false, nil), "PATCH", "https://"+apiHost+"/v1.0/users/bob", reset, header)
}

func TestAnApprovedCallGoesThroughOnceInTheRightOrder(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := newWorld(t, nil)
		w.desk.settle(hold.Approved)
		a := w.do(w.agent(h2, nil), "PATCH", "https://"+apiHost+"/v1.0/users/bob", reset, alice())
		if a.StatusCode != 200 || a.body != "ok" || a.Header.Get("Proxy-Status") != "countersign; received-status=200" {
			t.Errorf("answer = %d %q %q", a.StatusCode, a.body, a.Header.Get("Proxy-Status"))
		}
		if got := w.arrived(); len(got) != 1 || string(got[0].body) != reset {
			t.Fatalf("arrived: %d", len(got))
		}
		done := w.journal.of(t, audit.Completed, 1)[0]
		want := []string{"record decision", "attach", "connect", "record redeemed", "redeem", "upstream", "answered", "record completed"}
		if got := w.steps.all(); !slices.Equal(got, want) {
			t.Errorf("steps = %q, want %q", got, want)
		}
		decision, redeemed := w.journal.of(t, audit.Decision, 1)[0], w.journal.of(t, audit.Redeemed, 1)[0]
		if decision.Effect != "step_up" || decision.Exchange != done.Exchange || redeemed.Exchange != done.Exchange || redeemed.Evidence == nil {
			t.Errorf("records do not join: %+v %+v %+v", decision, redeemed, done)
		}
		if done.Status != 200 || done.State != "spent" || done.Hold == "" {
			t.Errorf("completed = %+v", done)
		}
		if !slices.Equal(w.desk.leavings(t, 1), []bool{true}) {
			t.Error("the caller was given the outcome, and left as if not")
		}
	}
}

func TestEveryOutcomeButApprovalRefuses(t *testing.T) {
	for state, code := range map[hold.State]string{
		hold.Denied: "verification_denied", hold.TimedOut: "verification_timed_out", hold.Fraud: "verification_fraud",
		hold.NotEnrolled: "verification_not_enrolled", hold.LockedOut: "verification_locked_out", hold.Unavailable: "verification_unavailable",
		hold.Withdrawn: "verification_withdrawn", hold.Expired: "approval_expired", hold.Spent: "approval_spent",
	} {
		w := newWorld(t, nil)
		w.desk.settle(state)
		a := w.patch(alice())
		w.want(a, 403, code)
		if a.Header.Get("Countersign-Hold") == "" || !strings.Contains(a.body, "The password of bob was not reset") {
			t.Errorf("%s: header %v, body %s", code, a.Header, a.body)
		}
		if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != code || e.Status != 403 || !w.journal.isDurable(audit.Completed) {
			t.Errorf("%s: completed = %+v", code, e)
		}
		if !slices.Equal(w.desk.leavings(t, 1), []bool{true}) || len(w.arrived()) != 0 {
			t.Errorf("%s: not delivered, or forwarded", code)
		}
	}
}

func TestHoldsThatCannotBeHadRefuse(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{hold.ErrDuplicate, 403, "duplicate_in_flight"},
		{hold.ErrExhausted, 503, "holds_exhausted"},
		{hold.ErrDraining, 503, "draining"},
		{hold.ErrOutcomeUnknown, 403, "outcome_unknown"},
		{hold.ErrJournal, 403, "journal_unavailable"},
		{hold.ErrNoProvider, 403, "verification_unavailable"},
		{hold.ErrLedger, 403, "verification_unavailable"},
		{hold.ErrRequest, 500, "internal_error"},
		{&hold.BudgetError{Reason: "per_15m", Until: time.Now().Add(time.Hour)}, 403, "push_budget_exhausted"},
	} {
		w := newWorld(t, nil)
		w.desk.refuse = fmt.Errorf("attach: %w", c.err)
		w.want(w.patch(alice()), c.status, c.code)
		if len(w.arrived()) != 0 {
			t.Errorf("%s: forwarded", c.code)
		}
	}
}

func TestARequesterWhoCannotBeAskedIsRefused(t *testing.T) {
	asserted := func(o *proxy.Options) { o.Asserted, o.NeedsAttested = true, policy.NeedsAttested }
	plain := http.Header{"Countersign-Requester": {"alice@contoso.com"}}
	for name, c := range map[string]struct {
		header   http.Header
		setup    setup
		category string
		code     string
	}{
		"nobody":                     {nil, nil, "", "requester_unknown"},
		"expired":                    {http.Header{"Countersign-Assertion": {"expired"}}, nil, "", "requester_not_attested"},
		"plain":                      {plain, nil, "", "requester_not_attested"},
		"plain, trusted":             {plain, asserted, "", "verification_denied"},
		"plain, trusted, privileged": {plain, asserted, "admin_privilege", "requester_not_attested"},
	} {
		w := newWorld(t, nil, func(o *proxy.Options) {
			if c.setup != nil {
				c.setup(o)
			}
		})
		w.policy.set(func(int, policy.Input) (policy.Decision, error) {
			d := stepUp()
			d.Category = cmpOr(c.category, "credential_reset")
			return d, nil
		})
		w.desk.settle(hold.Denied)
		w.want(w.patch(c.header), 403, c.code)
		if e := w.journal.of(t, audit.Decision, 1)[0]; e.Effect != "step_up" || e.Code != "" && e.Code != c.code {
			t.Errorf("%s: decision = %+v", name, e)
		}
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestACredentialOnTheConnectCounts(t *testing.T) {
	w := newWorld(t, nil)
	w.desk.settle(hold.Approved)
	a := w.do(w.agent(true, alice()), "PATCH", "https://"+apiHost+"/v1.0/users/bob", reset, nil)
	w.want(a, 200, "")
}

func TestACallerWhoseTimeIsUpIsToldToComeBack(t *testing.T) {
	for wait, limit := range map[string]time.Duration{"": time.Millisecond, "0": 0, "async": 0, "1": time.Millisecond} {
		w := newWorld(t, nil, func(o *proxy.Options) { o.MaxWait = limit })
		h := alice()
		if wait != "" {
			h.Set("Countersign-Wait", wait)
		}
		a := w.patch(h)
		w.want(a, 503, "verification_pending")
		if a.Header.Get("Retry-After") != "1" || a.Header.Get("Countersign-Hold") == "" {
			t.Errorf("header = %v", a.Header)
		}
		if !slices.Equal(w.desk.leavings(t, 1), []bool{false}) {
			t.Error("pending counted as delivered")
		}
		w.desk.settle(hold.Approved)
		w.want(w.patch(h), 200, "") // the same request attaches again, however short it waits
		if len(w.arrived()) != 1 {
			t.Errorf("%d requests arrived", len(w.arrived()))
		}
	}
}

func TestACallerThatDoesNotWaitIsToldWhereToLook(t *testing.T) {
	w := newWorld(t, nil, func(o *proxy.Options) {
		o.HoldURL = func(id hold.ID) string { return "http://control.example/v1/holds/" + string(id) }
	})
	h := alice()
	h.Set("Countersign-Wait", "async")
	a := w.patch(h)
	id := a.Header.Get("Countersign-Hold")
	if a.StatusCode != http.StatusAccepted || strings.TrimSpace(a.body) != `{"status":"pending"}` || id == "" {
		t.Errorf("answer = %d %s, hold %q", a.StatusCode, a.body, id)
	}
	if got := a.Header.Get("Location"); got != "http://control.example/v1/holds/"+id {
		t.Errorf("Location = %q", got)
	}
	if got := a.Header.Get("Proxy-Status"); got != `countersign; details="verification_pending"` {
		t.Errorf("Proxy-Status = %q", got)
	}
	if w.desk.leftAsync() != 1 || len(w.arrived()) != 0 {
		t.Errorf("%d left to come back, %d requests arrived; want 1 and 0", w.desk.leftAsync(), len(w.arrived()))
	}
	w.desk.settle(hold.Approved)
	w.want(w.patch(h), 200, "") // sent again, it is let through, and not told to look
	if len(w.arrived()) != 1 {
		t.Errorf("%d requests arrived, want 1", len(w.arrived()))
	}
}

func TestAWaitThatIsNoNumberIsMalformed(t *testing.T) {
	w := newWorld(t, nil)
	for _, v := range [][]string{{"-1"}, {"+1"}, {"1.5"}, {"soon"}, {""}, {"99999999"}, {"1", "1"}} {
		w.want(w.patch(http.Header{"Countersign-Wait": v, "Countersign-Assertion": {"alice"}}), 400, "malformed_request")
	}
}

func TestACallerWhoLeavesApprovesNothing(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := newWorld(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-w.desk.arrived
			cancel()
		}()
		_, err := w.try(ctx, w.agent(h2, nil), "PATCH", "https://"+apiHost+"/v1.0/users/bob", reset, alice())
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("err = %v", err)
		}
		if !slices.Equal(w.desk.leavings(t, 1), []bool{false}) {
			t.Error("left as delivered")
		}
		if e := w.journal.of(t, audit.Completed, 1)[0]; e.Status != 499 || e.Detail != "caller left" || e.Code != "" {
			t.Errorf("completed = %+v", e)
		}
	}
}

func TestTheSecondDecisionCounts(t *testing.T) {
	for name, c := range map[string]struct {
		second func() (policy.Decision, error)
		status int
		code   string
	}{
		"denied meanwhile": {func() (policy.Decision, error) { return policy.Decision{}, nil }, 403, "policy_denied"},
		"rule gone":        {func() (policy.Decision, error) { return policy.Decision{Effect: policy.Allow}, nil }, 200, ""},
		"other provider": {func() (policy.Decision, error) {
			return policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester", Providers: []string{"m365"}}}, nil
		}, 403, "requirement_changed"},
		"requirement missing": {func() (policy.Decision, error) { return policy.Decision{Effect: policy.StepUp}, nil }, 403, "requirement_changed"},
		"unknown effect":      {func() (policy.Decision, error) { return policy.Decision{Effect: 99}, nil }, 403, "policy_denied"},
		"policy gone":         {func() (policy.Decision, error) { return policy.Decision{}, policy.ErrUnavailable }, 403, "policy_unavailable"},
	} {
		w := newWorld(t, nil)
		w.policy.set(func(n int, in policy.Input) (policy.Decision, error) {
			if n == 1 {
				return stepUp(), nil
			}
			if in.Evidence == nil {
				t.Errorf("%s: asked again without evidence", name)
			}
			return c.second()
		})
		w.desk.settle(hold.Approved)
		w.want(w.patch(alice()), c.status, c.code)
		if got := len(w.arrived()); got != map[int]int{200: 1, 403: 0}[c.status] {
			t.Errorf("%s: %d requests arrived", name, got)
		}
	}
}

func TestEvidenceHasToBeOfThisCall(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		evidence policy.Evidence
		code     string
	}{
		"too old":          {policy.Evidence{Approver: policy.Approver{ID: "alice@contoso.com"}, ApprovedAt: now.Add(-3 * time.Minute)}, "requirement_changed"},
		"somebody else's":  {policy.Evidence{Approver: policy.Approver{ID: "mallory@contoso.com"}, ApprovedAt: now}, "requirement_changed"},
		"without a moment": {policy.Evidence{Approver: policy.Approver{ID: "alice@contoso.com"}}, "requirement_changed"},
	} {
		w := newWorld(t, nil)
		w.desk.rec.Evidence = &c.evidence
		w.desk.settle(hold.Approved)
		w.want(w.patch(alice()), 403, c.code)
		if len(w.arrived()) != 0 {
			t.Errorf("%s: forwarded", name)
		}
	}
}

func TestWithoutRecordNothingHappens(t *testing.T) {
	for _, kind := range []string{audit.Decision, audit.Redeemed, "all"} {
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			w := newWorld(t, nil)
			w.desk.settle(hold.Approved)
			w.journal.breakDown(kind)
			a := w.do(w.agent(false, nil), method, "https://"+apiHost+"/", "", alice())
			if kind == audit.Redeemed && method != "PATCH" {
				continue // nothing is redeemed
			}
			w.want(a, 403, "journal_unavailable")
			if len(w.arrived()) != 0 || slices.Contains(w.steps.all(), "redeem") {
				t.Errorf("%s without %s record: %q", method, kind, w.steps.all())
			}
		}
	}
}

func TestALostRaceForTheApprovalRefuses(t *testing.T) {
	for err, code := range map[error]string{
		hold.ErrSpent: "approval_spent", hold.ErrLedger: "verification_unavailable", hold.ErrDraining: "draining",
		fmt.Errorf("%w: %w", hold.ErrSpent, hold.ErrExpired): "approval_expired",
	} {
		w := newWorld(t, nil)
		w.desk.settle(hold.Approved)
		w.desk.spent = err
		if a := w.patch(alice()); a.code() != code || len(w.arrived()) != 0 {
			t.Errorf("answer = %q, want %q; %d arrived", a.code(), code, len(w.arrived()))
		}
	}
}

func TestARedeemedCallIsNeverSentTwice(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := newWorldOver(t, h2, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		w.desk.settle(hold.Approved)
		h := alice()
		h.Set("Idempotency-Key", "k")
		a := w.patch(h)
		w.want(a, 502, "upstream_unreachable")
		if !strings.Contains(a.body, "not known whether the request took effect") {
			t.Errorf("body = %s", a.body)
		}
		if got := len(w.arrived()); got != 1 {
			t.Errorf("h2 %v: arrived %d times", h2, got)
		}
		if w.desk.answered != 1 {
			t.Errorf("answered = %d", w.desk.answered)
		}
	}
}

func TestNothingIsRedeemedWithoutAnUpstream(t *testing.T) {
	w := newWorld(t, nil)
	w.desk.settle(hold.Approved)
	w.api.Close()
	w.want(w.patch(alice()), 502, "upstream_unreachable")
	if slices.Contains(w.steps.all(), "redeem") || w.desk.leavings(t, 1)[0] {
		t.Errorf("steps = %q, left as delivered", w.steps.all())
	}
}

func TestACallerWhoLeavesAfterTheRedemptionDoesNotStopIt(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		select {
		case <-finish:
			rw.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
			t.Error("the call was cancelled")
		}
	})
	w.desk.settle(hold.Approved)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.try(ctx, w.agent(false, nil), "PATCH", "https://"+apiHost+"/", reset, alice()) // cut off
	}()
	<-arrived
	cancel()
	<-done
	close(finish)
	if e := w.journal.of(t, audit.Completed, 1)[0]; e.Upstream != http.StatusNoContent {
		t.Errorf("completed = %+v", e)
	}
}

func TestABatchIsOneDecision(t *testing.T) {
	w := newWorld(t, nil)
	w.policy.set(func(_ int, in policy.Input) (policy.Decision, error) {
		if in.Subject.Requester.ID != "alice@contoso.com" {
			t.Errorf("subject = %+v", in.Subject)
		}
		return stepUp(), nil
	})
	w.desk.settle(hold.Denied)
	c := w.agent(false, nil)
	a := w.do(c, "POST", "https://"+apiHost+"/v1.0/$batch", strings.Repeat("part\n", 6), alice())
	w.want(a, 403, "uninspectable")
	if !strings.Contains(a.body, "send fewer") || len(w.desk.requests) != 0 {
		t.Errorf("body = %s, %d holds", a.body, len(w.desk.requests))
	}
	a = w.do(c, "POST", "https://"+apiHost+"/v1.0/$batch", strings.Repeat("part\n", 5), alice())
	w.want(a, 403, "verification_denied")
	if got := w.desk.requests[0]; len(got.Operations) != 5 || got.Summary != "Reset the password of bob (and 4 more)" {
		t.Errorf("held = %+v", got)
	}
}
