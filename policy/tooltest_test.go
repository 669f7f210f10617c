package policy_test

import (
	"strings"
	"testing"
	"time"

	"countersign/policy"
	"countersign/rego"
)

const frozenRule = `package countersign.rules

import rego.v1

deny contains {"code": "frozen", "text": "Frozen."} if {
	input.operation.category == "ordinary_write"
	input.operation.resource.id == "bob@contoso.com"
}

deny contains {"code": "never", "text": "Never."} if {
	input.operation.name == "no.such"
}
`

func testOptions(paths ...string) policy.TestOptions {
	return policy.TestOptions{
		Sources: policy.Sources{Base: rego.Policies(), Testing: rego.Testing(), Paths: paths},
		Timeout: time.Minute,
	}
}

// tests makes a directory with a rule and tests for it, the latter wrapped as a module.
func tests(t *testing.T, rule, test string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "frozen.rego", rule)
	write(t, dir, "frozen_test.rego", "package countersign.rules_test\n\nimport data.countersign\nimport data.countersign.testing\n\n"+test)
	return dir
}

func TestTestsRunWithTheBuiltInPolicyAroundThem(t *testing.T) {
	dir := tests(t, frozenRule, `test_frozen if {
	d := countersign.decision with input as testing.update
	testing.codes(d) == {"frozen"}
}

test_held if countersign.decision.effect == "step_up" with input as testing.reset

test_wrong if {
	d := countersign.decision with input as testing.read
	print("effect", d.effect)
	d.effect == "deny"
}

test_cases[name] if {
	some name, call in {"a read": testing.read, "a write": testing.update}
	countersign.decision.effect == "allow" with input as call
}

test_errs if lower(input.operation) == "x" with input as testing.read

todo_test_later if false
`)
	r, err := policy.Test(t.Context(), testOptions(dir))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]policy.TestOutcome{
		"test_frozen": policy.TestPassed, "test_held": policy.TestPassed, "test_wrong": policy.TestFailed,
		"test_cases": policy.TestFailed, "todo_test_later": policy.TestSkipped, "test_errs": policy.TestErred,
	}
	if len(r.Tests) != len(want) || r.Passed != 2 || r.Failed != 3 || r.Skipped != 1 {
		t.Errorf("%d tests: %d passed, %d failed, %d skipped", len(r.Tests), r.Passed, r.Failed, r.Skipped)
	}
	for _, got := range r.Tests {
		if got.Outcome != want[got.Name] {
			t.Errorf("%s: %s (%s), want %s", got.Name, got.Outcome, got.Reason, want[got.Name])
		}
		switch got.Name {
		case "test_wrong":
			if !strings.Contains(got.Reason, `frozen_test.rego:16: not true: d.effect == "deny"`) || got.Output != "effect allow\n" || got.Line != 13 {
				t.Errorf("test_wrong = %+v", got)
			}
		case "test_cases":
			if len(got.Cases) != 1 || got.Cases[0] != "a write" {
				t.Errorf("failed cases = %v, want the write", got.Cases)
			}
		}
	}
}

func TestCoverageIsOfCustomersRulesOnly(t *testing.T) {
	dir := tests(t, frozenRule, `test_frozen if countersign.decision.effect == "deny" with input as testing.update`)
	o := testOptions(dir)
	o.Coverage = true
	r, err := policy.Test(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c := r.Coverage
	if c == nil || len(c.Files) != 1 || !strings.HasSuffix(c.Files[0].File, "frozen.rego") || len(c.Files[0].NotCovered) == 0 ||
		c.Percent <= 20 || c.Percent >= 90 || c.Files[0].NotCovered[0][0] != 10 {
		t.Errorf("Coverage = %+v", c)
	}
}

func TestOnlyTestsThatMatchRun(t *testing.T) {
	o := testOptions(tests(t, frozenRule, "test_one if true\n\ntest_two if false\n"))
	o.Run = "rules_test.test_one$"
	if r, err := policy.Test(t.Context(), o); err != nil || len(r.Tests) != 1 || r.Failed != 0 {
		t.Errorf("Test = %+v, %v", r, err)
	}
	o.Run = "("
	if _, err := policy.Test(t.Context(), o); err == nil {
		t.Error("a broken expression was taken")
	}
}

func TestTestsBesideANamedFileAreFoundOnce(t *testing.T) {
	dir := tests(t, frozenRule, "test_one if true\n")
	for _, paths := range [][]string{{dir + "/frozen.rego"}, {dir + "/frozen.rego", dir + "/frozen_test.rego"}, {dir, dir + "/frozen.rego"}} {
		if r, err := policy.Test(t.Context(), testOptions(paths...)); err != nil || len(r.Tests) != 1 {
			t.Errorf("%v: %d tests, %v; want one", paths, len(r.Tests), err)
		}
	}
}

func TestSettingsReachTheTests(t *testing.T) {
	o := testOptions(tests(t, frozenRule, `test_denied if {
	unlisted := object.union(testing.update, {"operation": {"catalog": "unlisted", "name": "", "resource": {"id": "x"}}})
	countersign.decision.effect == "deny" with input as unlisted
}`))
	o.Settings = map[string]any{"unlisted_writes": "deny"}
	if r, err := policy.Test(t.Context(), o); err != nil || r.Failed != 0 {
		t.Errorf("Test = %+v, %v", r, err)
	}
}

// What the sidecar refuses, or would not see, is not tested.
func TestTestsThatWouldProveNothingAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ rule, test, want string }{
		"no test":             {frozenRule, "helper := 1\n", "no test found"},
		"a greedy module":     {"package countersign.floor\nx := 1", "test_x if true\n", "frozen.rego:1: package countersign.floor"},
		"a clock":             {"package countersign.rules\nx := time.now_ns()", "test_x if true\n", "undefined function time.now_ns"},
		"a deny that is none": {"package countersign.rules\ndeny := true", "test_x if true\n", "deny has to be a set"},
	} {
		if _, err := policy.Test(t.Context(), testOptions(tests(t, c.rule, c.test))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for module, want := range map[string]string{
		"package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if true\ntest_x if true": "deny in a test would count in the test only",
		"package countersign\ntest_x if true":         "tests go into countersign.rules_test",
		"package countersign.testing\ntest_x if true": "tests go into countersign.rules_test",
		"package countersign.rules\ntest_x if true":   "",
		"package acme_test\ntest_x if true":           "",
	} {
		dir := t.TempDir()
		write(t, dir, "frozen.rego", frozenRule)
		write(t, dir, "frozen_test.rego", module)
		_, err := policy.Test(t.Context(), testOptions(dir))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", module, err, want)
		}
	}
}

func TestTestsThatHangAreErrors(t *testing.T) {
	o := testOptions(tests(t, frozenRule, "test_slow if {\n\tsum([x | some x in numbers.range(1, 5000); some y in numbers.range(1, 5000); y == x]) == 1\n}\n"))
	o.Timeout = 20 * time.Millisecond
	if r, err := policy.Test(t.Context(), o); err != nil || r.Failed != 1 || r.Tests[0].Outcome != policy.TestErred {
		t.Errorf("Test = %+v, %v", r, err)
	}
}
