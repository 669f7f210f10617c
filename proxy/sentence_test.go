package proxy_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/hold"
)

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
