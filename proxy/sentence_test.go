package proxy_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"countersign/internal/hold"
	"countersign/policy"
)

func TestACallThatIsNeitherAllowedNorHeldIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.desk.nothing = true
	w.want(w.patch(alice()), 500, "internal_error")
	if n := len(w.arrived()); n != 0 {
		t.Errorf("%d calls reached upstream", n)
	}
}

func TestABatchSaysWhatWasNotDoneWherePolicyFailsTheSecondTime(t *testing.T) {
	w := newWorld(t, nil)
	part := 0
	w.policy.set(func(n int, _ policy.Input) (policy.Decision, error) {
		if n > 1 {
			return policy.Decision{}, errors.New("no answer")
		}
		if part++; part == 1 {
			return policy.Decision{Effect: policy.Allow}, nil
		}
		return stepUp(), nil
	})
	w.desk.settle(hold.Approved)
	a := w.do(w.agent(false, nil), "POST", "https://"+apiHost+"/v1.0/$batch", "part\npart\n", alice())
	w.want(a, 403, "policy_unavailable")
	if !strings.Contains(a.body, "The password of bob was not reset") {
		t.Errorf("%s, want what was not done", a.body)
	}
}

func TestARefusalSaysWhyAndWhatToDo(t *testing.T) {
	until := time.Date(2096, 1, 2, 14, 5, 0, 0, time.UTC)
	for reason, want := range map[string]string{
		"per_15m":    "has been asked to verify too often. Try again after 14:05 UTC",
		"per_agent":  "this agent has started too many verifications. Try again after 14:05 UTC",
		"per_tenant": "too many verifications have been started in this organisation. Try again after 14:05 UTC",
		"cooloff":    "earlier verification requests were declined. Try again after 14:05 UTC",
		"fraud":      "an earlier verification request was reported as fraud. An operator must clear the block.",
	} {
		w := newWorld(t, nil)
		blocked := &hold.BudgetError{Reason: reason, Until: until}
		if reason == "fraud" {
			blocked.Until = time.Time{}
		}
		w.desk.refuse = blocked
		if a := w.patch(alice()); !strings.Contains(a.body, want) {
			t.Errorf("%s: %s, want %q in it", reason, a.body, want)
		}
	}
	w := newWorld(t, nil)
	w.desk.rec.Detail = hold.DetailOwnFactor
	w.desk.settle(hold.NotEnrolled)
	if a := w.patch(alice()); !strings.Contains(a.body, "A technician has to do it.") {
		t.Errorf("%s, want a technician to do it", a.body)
	}
}
