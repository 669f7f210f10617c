package proxy_test

import (
	"slices"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/proxy"
)

// signing is a parser of calls whose signatures are good until until says.
type signing struct {
	parser
	until func() time.Time
}

func (s *signing) Parse(r operation.Request) (operation.Call, error) {
	call, err := s.parser.Parse(r)
	call.SignedUntil = s.until()
	return call, err
}

func TestACallWhoseSignatureExpiredWhileItWaitedIsNotSentAndItsApprovalStays(t *testing.T) {
	p := &signing{until: time.Now} // after the call came, before it is released
	w := newWorld(t, nil, func(o *proxy.Options) { o.Parser = p })
	w.desk.settle(hold.Approved)
	w.want(w.patch(alice()), 403, "request_expired")
	if !slices.Equal(w.desk.leavings(t, 1), []bool{false}) {
		t.Error("the approval counts as delivered")
	}
	if slices.Contains(w.steps.all(), "redeem") || len(w.arrived()) != 0 {
		t.Errorf("steps = %q: redeemed or sent", w.steps.all())
	}
	if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != "request_expired" || e.State != "approved" {
		t.Errorf("completed = %+v", e)
	}

	p.until = func() time.Time { return time.Now().Add(time.Hour) }
	if a := w.patch(alice()); a.StatusCode != 200 || len(w.arrived()) != 1 {
		t.Errorf("signed afresh it got %d %s", a.StatusCode, a.body)
	}
}

// The agent's clock may be wrong, or the API more patient than it says.
func TestASignatureThatWasTooOldFromTheStartIsForUpstreamToJudge(t *testing.T) {
	w := newWorld(t, nil, func(o *proxy.Options) {
		o.Parser = &signing{until: func() time.Time { return time.Now().Add(-time.Hour) }}
	})
	w.desk.settle(hold.Approved)
	if a := w.patch(alice()); a.StatusCode != 200 || len(w.arrived()) != 1 {
		t.Errorf("answer = %d %s", a.StatusCode, a.body)
	}
}
