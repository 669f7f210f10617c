package control_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"countersign/internal/control"
	"countersign/internal/requester"
	"countersign/policy"
)

func noPlan(context.Context, requester.Identity, []json.RawMessage) ([]control.PlanStep, error) {
	return nil, nil
}

// judged calls a step sensitive unless its id begins with an r.
func judged(_ context.Context, id requester.Identity, steps []json.RawMessage) ([]control.PlanStep, error) {
	var out []control.PlanStep
	for _, raw := range steps {
		var step struct{ ID string }
		if json.Unmarshal(raw, &step) != nil || step.ID == "" {
			return nil, &control.StepError{Text: "a request has no id"}
		}
		s := control.PlanStep{ID: step.ID, Effect: policy.Allow, Reasons: []policy.Reason{}, Catalog: "listed"}
		if !strings.HasPrefix(step.ID, "r") {
			s.Effect = policy.StepUp
			s.Verification = &control.PlanVerification{Approver: id.Subject.Requester.ID, Provider: "duo", Reachable: "yes"}
		}
		out = append(out, s)
	}
	return out, nil
}

func TestAPlanIsJudgedForItsOwnSubject(t *testing.T) {
	p := newPlace(t, func(o *control.Options) { o.Plan = judged })
	plan := `{"requests":[{"id":"read","method":"GET","url":"https://x/"},{"id":"a","method":"POST","url":"https://x/"},{"id":"b","method":"POST","url":"https://x/"}]}`
	code, body := p.do("POST", "/v1/check", "/v1/check", agent("alice@contoso.com/a1"), plan)
	if code != 200 || body["pushes"] != 2.0 {
		t.Fatalf("answer = %d %v, want two pushes", code, body)
	}
	second := body["requests"].([]any)[1].(map[string]any)["verification"].(map[string]any)
	if second["approver"] != "alice@contoso.com" || second["provider"] != "duo" {
		t.Errorf("verification = %v", second)
	}
	for _, who := range []string{"", "~alice@contoso.com/a1"} {
		if code, _ := p.do("POST", "/v1/check", "/v1/check", agent(who), plan); code != 401 {
			t.Errorf("%q checks a plan: %d, want 401", who, code)
		}
	}
	if code, _ := p.do("POST", "/v1/check", "/v1/check", operator(), plan); code != 401 {
		t.Errorf("an operator checks a plan for nobody: %d, want 401", code)
	}
}

func TestABadPlanIsRefusedWithWhatToCorrect(t *testing.T) {
	p := newPlace(t, func(o *control.Options) { o.Plan = judged })
	many := `{"requests":[` + strings.TrimSuffix(strings.Repeat(`{"id":"x"},`, 51), ",") + `]}`
	for plan, want := range map[string]int{"": 400, "[]": 400, `{"requests":[]}`: 400, many: 400, `{"requests":[{}]}`: 400, strings.Repeat(" ", 1<<20+1): 413} {
		if code, body := p.do("POST", "/v1/check", "/v1/check", agent("alice@contoso.com/a1"), plan); code != want || body["detail"] == "" {
			t.Errorf("%.40q: %d %v, want %d", plan, code, body, want)
		}
	}
}

func TestPlansOfOneRequesterAreLimited(t *testing.T) {
	p := newPlace(t, func(o *control.Options) { o.Plan = judged })
	plan := `{"requests":[{"id":"read"}]}`
	limited := 0
	for range 30 { // far more than are let through at once
		if code, _ := p.do("POST", "/v1/check", "/v1/check", agent("alice@contoso.com/a1"), plan); code == 429 {
			limited++
		}
	}
	if limited == 0 || limited == 30 {
		t.Errorf("%d of 30 were limited", limited)
	}
	if code, _ := p.do("POST", "/v1/check", "/v1/check", agent("bob@contoso.com/a1"), plan); code != 200 {
		t.Errorf("another requester: %d, want 200", code)
	}
}
