package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/policy"
)

const worked = "../examples/policies"

func workedPolicies(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(worked, "*", ""))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range dirs {
		if info, err := os.Stat(d); err != nil {
			t.Fatal(err)
		} else if info.IsDir() {
			out = append(out, d)
		}
	}
	if len(out) < 12 {
		t.Fatalf("%d worked policies, want a dozen", len(out))
	}
	return out
}

func TestEveryWorkedPolicyPassesItsTestsAndIsCovered(t *testing.T) {
	for _, dir := range workedPolicies(t) {
		o := testOptions(dir)
		o.Coverage = true
		r, err := policy.Test(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		for _, test := range r.Tests {
			if test.Outcome != policy.TestPassed {
				t.Errorf("%s: %s: %s %s", test.Place, test.Name, test.Outcome, test.Reason)
			}
		}
		if len(r.Tests) < 2 || r.Coverage.Percent != 100 {
			t.Errorf("%s: %d tests, coverage %.1f %%: want a test that fires and one that does not, and all lines", dir, len(r.Tests), r.Coverage.Percent)
		}
	}
}

func TestWorkedPoliciesLoadTogether(t *testing.T) {
	start(t, options(workedPolicies(t)...))
}

func TestTheDocumentsListEveryWorkedPolicy(t *testing.T) {
	for _, doc := range []string{worked + "/README.md", "../docs/policy.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range workedPolicies(t) {
			if name := filepath.Base(dir); !strings.Contains(string(text), "["+name+"](") {
				t.Errorf("%s does not list %s", doc, name)
			}
		}
	}
}

// A test of a rule proves little when the rule may be switched off and nothing notices.
func TestWorkedPoliciesChangeWhatIsDecided(t *testing.T) {
	for name, want := range map[string]struct {
		change func(*policy.Input)
		effect policy.Effect
	}{
		"break_glass":     {func(in *policy.Input) { in.Operation.Resource.ID = "BG3@contoso.onmicrosoft.com" }, policy.Deny},
		"ticket_required": {func(in *policy.Input) { in.Subject.Ticket = "" }, policy.Deny},
		"no_self_elevation": {func(in *policy.Input) {
			in.Operation.Category = "permission_grant"
			in.Operation.Resource.ID = "alice@contoso.com"
		}, policy.Deny},
		"help_desk": {func(*policy.Input) {}, policy.Deny},
		"exempt_service_mailbox": {func(in *policy.Input) {
			in.Operation.Resource.ID, in.Subject.Requester.ID = "scanner@contoso.com", "rotation-job@contoso.com"
		}, policy.Allow},
	} {
		in := reset()
		want.change(&in)
		if d := decide(t, engine(t, ""), in); d.Effect != policy.StepUp {
			t.Errorf("%s: without the rule %v, want step_up", name, d.Effect)
		}
		if d := decide(t, start(t, options(filepath.Join(worked, name))), in); d.Effect != want.effect {
			t.Errorf("%s: %v, want %v", name, d.Effect, want.effect)
		}
	}
	in := reset()
	in.Operation.Category = "admin_privilege"
	o := options(filepath.Join(worked, "office_hours"))
	o.Now = func() time.Time { return time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC) }
	if d := decide(t, start(t, o), in); d.Effect != policy.Deny {
		t.Errorf("office_hours on a Saturday: %v, want deny", d.Effect)
	}
}
