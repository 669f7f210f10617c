package policy_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/policy"
)

const manyRules = `package countersign.rules

deny contains {"code": "night", "text": "At night."} if {
	input.operation.category == "credential_reset"
	hour := time.clock([time.parse_rfc3339_ns(input.context.time), "UTC"])[0]
	hour < 6
}

deny contains {"code": "name", "text": "A name."} if input.operation.name == "no.such"

exempt contains {"code": "drill", "text": "A drill."} if {
	some group in input.subject.requester.claims.groups
	group == "drill"
}

step_up contains {"code": sprintf("vip_%d", [1]), "text": "A VIP."} if input.operation.sensitive
`

func explain(t *testing.T, e *policy.Engine, in policy.Input, at time.Time) policy.Explanation {
	t.Helper()
	x, err := e.Explain(t.Context(), in, at)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func ruleOf(t *testing.T, x policy.Explanation, line int) policy.RuleTrace {
	t.Helper()
	i := slices.IndexFunc(x.Rules, func(r policy.RuleTrace) bool { return !r.BuiltIn && r.Line == line })
	if i < 0 {
		t.Fatalf("no rule at line %d in %+v", line, x.Rules)
	}
	return x.Rules[i]
}

func TestAnExplanationNamesWhatHeldAndWhereTheOthersStopped(t *testing.T) {
	e := engine(t, manyRules)
	x := explain(t, e, reset(), time.Time{})
	if x.Decision.Effect != policy.StepUp || x.Problem != "" || !x.Time.Equal(now) || x.Revision != e.Revision() {
		t.Errorf("Explain = %+v", x)
	}
	night := ruleOf(t, x, 3)
	if night.State != policy.RuleStopped || night.Code != "night" || night.Rule != "countersign.rules.deny" || night.At.Line != 6 || night.Expression != "hour < 6" {
		t.Errorf("the night rule: %+v", night)
	}
	if name := ruleOf(t, x, 9); name.State != policy.RuleStopped || name.Expression != `input.operation.name == "no.such"` {
		t.Errorf("a rule that an index would pass over: %+v", name)
	}
	if drill := ruleOf(t, x, 11); drill.State != policy.RuleStopped {
		t.Errorf("the exemption: %+v", drill)
	}
	if vip := ruleOf(t, x, 16); vip.State != policy.RuleHeld || vip.Code != "" {
		t.Errorf("the step_up: %+v", vip)
	}
	if !slices.ContainsFunc(x.Rules, func(r policy.RuleTrace) bool {
		return r.BuiltIn && r.State == policy.RuleHeld && r.Rule == "countersign.floor_step_ups" && filepath.Base(r.File) == "floor.rego"
	}) {
		t.Errorf("the floor's rule is missing: %+v", x.Rules)
	}
}

func TestAnExplanationIsOfTheGivenTime(t *testing.T) {
	x := explain(t, engine(t, manyRules), reset(), time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC))
	if x.Decision.Effect != policy.Deny || ruleOf(t, x, 3).State != policy.RuleHeld {
		t.Errorf("at night: %v %+v", x.Decision.Effect, ruleOf(t, x, 3))
	}
	if drill := ruleOf(t, x, 11); drill.State != policy.RuleNotAsked { // a denial needs no exemption
		t.Errorf("the exemption: %+v", drill)
	}
}

// Watching must not change what is decided, or explain would explain something else.
func TestWatchingDoesNotChangeTheDecision(t *testing.T) {
	e := engine(t, manyRules)
	for _, in := range []policy.Input{read(), update(), reset()} {
		if got, want := explain(t, e, in, now).Decision, decide(t, e, in); got.Effect != want.Effect || !slices.Equal(got.Reasons, want.Reasons) {
			t.Errorf("Explain = %v %v, Decide = %v %v", got.Effect, got.Reasons, want.Effect, want.Reasons)
		}
	}
}

func TestARuleThatBreaksIsAProblemAndStillExplained(t *testing.T) {
	x := explain(t, engine(t, "package countersign.rules\n\ndeny contains \"no object\" if input.operation.sensitive\n"), reset(), now)
	if x.Decision.Effect != policy.Deny || !strings.Contains(x.Problem, "countersign.rules.deny") || ruleOf(t, x, 3).State != policy.RuleHeld {
		t.Errorf("Explain = %+v", x)
	}
}

func TestWithoutAPolicyNothingIsExplained(t *testing.T) {
	e, err := policy.New(options(write(t, t.TempDir(), "policy.rego", "package countersign\nx := 1")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Explain(context.Background(), reset(), now); err == nil {
		t.Error("a policy that is not in force explained something")
	}
}
