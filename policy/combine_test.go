package policy_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"countersign/policy"
)

func part(e policy.Effect, code string, providers ...string) policy.Decision {
	d := policy.Decision{Effect: e, Operation: "op." + code, Category: "c", Revision: "r", Reasons: []policy.Reason{{Code: code, Text: "Because."}}}
	if e == policy.StepUp {
		d.Requirement = &policy.Requirement{Approver: "requester", Providers: providers, Capabilities: []string{"text"}, AMR: []string{code}}
	}
	return d
}

func codes(d policy.Decision) []string {
	var cs []string
	for _, r := range d.Reasons {
		cs = append(cs, r.Code)
	}
	return cs
}

func TestCombineTakesTheStrictestEffect(t *testing.T) {
	allow, stepUp, deny := part(policy.Allow, "a"), part(policy.StepUp, "s"), part(policy.Deny, "d")
	for _, c := range []struct {
		parts []policy.Decision
		want  policy.Effect
		op    string
	}{
		{nil, policy.Deny, ""},
		{[]policy.Decision{allow}, policy.Allow, "op.a"},
		{[]policy.Decision{allow, allow}, policy.Allow, "op.a"},
		{[]policy.Decision{allow, stepUp}, policy.StepUp, "op.s"},
		{[]policy.Decision{allow, stepUp, deny}, policy.Deny, "op.d"},
		{[]policy.Decision{allow, {}}, policy.Deny, ""},
		{[]policy.Decision{allow, {Effect: policy.Effect(9)}}, policy.Deny, ""},
	} {
		d := policy.Combine(c.parts)
		if d.Effect != c.want || d.Operation != c.op {
			t.Errorf("Combine(%v) = %v of %q, want %v of %q", c.parts, d.Effect, d.Operation, c.want, c.op)
		}
		if (d.Requirement != nil) != (d.Effect == policy.StepUp) {
			t.Errorf("Combine(%v).Requirement = %v", c.parts, d.Requirement)
		}
	}
}

func TestCombineOfPartsWithoutReasonsHasAnEmptyList(t *testing.T) {
	text, err := json.Marshal(policy.Combine([]policy.Decision{{Effect: policy.Allow}}))
	if want := `{"effect":"allow","operation":"","category":"","summary":"","reasons":[]}`; err != nil || string(text) != want {
		t.Errorf("Marshal = %s, %v, want %s", text, err, want)
	}
}

func TestCombinePutsStrictReasonsFirstAndOnce(t *testing.T) {
	d := policy.Combine([]policy.Decision{part(policy.Allow, "a"), part(policy.StepUp, "s"), part(policy.Deny, "d"), part(policy.StepUp, "s")})
	if got := codes(d); !slices.Equal(got, []string{"d", "s", "a"}) {
		t.Errorf("codes = %v", got)
	}
}

func TestCombineBoundsReasonsAndSaysSo(t *testing.T) {
	var parts []policy.Decision
	for i := range 200 {
		parts = append(parts, part(policy.Deny, fmt.Sprint("code", i)))
	}
	d := policy.Combine(parts)
	last := d.Reasons[len(d.Reasons)-1]
	if len(d.Reasons) != 64 || last.Code != "more_reasons" || last.Text != "There are 137 more reasons." {
		t.Errorf("%d reasons, the last %+v", len(d.Reasons), last)
	}
}

func TestCombineMeetsTheRequirementsOfAllParts(t *testing.T) {
	parts := []policy.Decision{
		part(policy.StepUp, "x", "duo", "m365"), part(policy.StepUp, "y"), part(policy.StepUp, "z", "traceless", "duo"), part(policy.Allow, "a"),
	}
	parts[1].Requirement.Prefer = []string{"text"}
	r := policy.Combine(parts).Requirement
	if r == nil || r.Approver != "requester" || !slices.Equal(r.Providers, []string{"duo"}) ||
		!slices.Equal(r.Capabilities, []string{"text"}) || !slices.Equal(r.AMR, []string{"x", "y", "z"}) ||
		!slices.Equal(r.Prefer, []string{"text"}) {
		t.Errorf("Requirement = %+v", r)
	}
	if got := parts[0].Requirement.Providers; !slices.Equal(got, []string{"duo", "m365"}) {
		t.Errorf("Combine changed a part: %v", got)
	}
}

func TestCombineDeniesWhatNoProviderMeets(t *testing.T) {
	d := policy.Combine([]policy.Decision{part(policy.StepUp, "x", "duo"), part(policy.StepUp, "y", "m365")})
	if d.Effect != policy.Deny || d.Requirement != nil || codes(d)[0] != "requirement_conflict" {
		t.Errorf("Combine = %+v", d)
	}
	broken := part(policy.StepUp, "x")
	broken.Requirement = nil
	if d := policy.Combine([]policy.Decision{broken}); d.Effect != policy.Deny {
		t.Errorf("Combine of a step_up without a requirement = %v, want deny", d.Effect)
	}
}
