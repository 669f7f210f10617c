package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/policy"
)

func example(t *testing.T, files ...string) *policy.Engine {
	t.Helper()
	var paths []string
	for _, f := range files {
		paths = append(paths, filepath.Join("testdata", "examples", f))
	}
	return start(t, options(paths...))
}

func TestExampleDenyAfterHours(t *testing.T) {
	in := reset()
	in.Operation.Category = "admin_privilege"
	o := options(filepath.Join("testdata", "examples", "deny_after_hours.rego"))
	for hour, want := range map[int]policy.Effect{6: policy.Deny, 7: policy.StepUp, 16: policy.StepUp, 17: policy.Deny} {
		o.Now = func() time.Time { return time.Date(2026, 11, 24, hour, 0, 0, 0, time.UTC) } // Berlin is an hour ahead
		if d := decide(t, start(t, o), in); d.Effect != want {
			t.Errorf("at %d UTC: %v, want %v", hour, d.Effect, want)
		}
	}
	o.Now = func() time.Time { return time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC) }
	if d := decide(t, start(t, o), update()); d.Effect != policy.Allow {
		t.Errorf("another operation at night: %v, want allow", d.Effect)
	}
}

func TestExampleStepUpVIPs(t *testing.T) {
	e := example(t, "step_up_vips.rego", "step_up_vips.yaml")
	in := update()
	if d := decide(t, e, in); d.Effect != policy.Allow {
		t.Errorf("an ordinary account: %v, want allow", d.Effect)
	}
	in.Operation.Resource.ID = "CEO@contoso.com"
	d := decide(t, e, in)
	if d.Effect != policy.StepUp || codes(d)[0] != "protected_account" || !slices.Equal(d.Requirement.Providers, []string{"duo"}) {
		t.Errorf("a protected account: %+v", d)
	}
}

func TestExampleRequireNumberMatch(t *testing.T) {
	e := example(t, "require_number_match.rego")
	in := reset()
	if d := decide(t, e, in); len(d.Requirement.Capabilities) != 0 {
		t.Errorf("a reset asks for %v", d.Requirement.Capabilities)
	}
	in.Operation.Category = "permission_grant"
	if d := decide(t, e, in); !slices.Equal(d.Requirement.Capabilities, []string{"number_match"}) {
		t.Errorf("a grant asks for %v", d.Requirement.Capabilities)
	}
}

func TestExampleExemptServiceDesk(t *testing.T) {
	e := example(t, "exempt_service_desk.rego")
	in := reset()
	in.Operation.Resource.ID = "bob@training.contoso.com"
	if d := decide(t, e, in); d.Effect != policy.StepUp {
		t.Errorf("somebody else: %v, want step_up", d.Effect)
	}
	in.Subject.Requester.Claims = map[string]any{"groups": []any{"service-desk"}}
	if d := decide(t, e, in); d.Effect != policy.Allow || codes(d)[0] != "exempt" || !strings.HasPrefix(d.Reasons[0].Text, "training_tenant: ") {
		t.Errorf("the service desk: %+v", d)
	}
	in.Subject.Requester.Assurance = policy.AssuranceAsserted
	if d := decide(t, e, in); d.Effect != policy.StepUp {
		t.Errorf("somebody who says so: %v, want step_up", d.Effect)
	}
}

func TestExampleOthers(t *testing.T) {
	e := example(t, "others.yaml")
	in := reset()
	if d := decide(t, e, in); d.Effect != policy.Deny || codes(d)[0] != "not_self" {
		t.Errorf("another account: %+v", d)
	}
	in.Operation.Resource.ID = "Alice@Contoso.com"
	if d := decide(t, e, in); d.Effect != policy.StepUp {
		t.Errorf("one's own account: %v, want step_up", d.Effect)
	}
}

// What docs/policy.md shows is what is tested here.
func TestTheDocumentShowsTheExamples(t *testing.T) {
	doc, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/examples/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("Glob = %v, %v", files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(doc), string(text)) {
			t.Errorf("docs/policy.md does not show %s as it is", f)
		}
	}
}
