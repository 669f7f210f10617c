package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/policy"
)

// I11: a customer file that defines anything under data.countersign but rules and config is refused whole.
func TestCustomersMayNotTouchTheBuiltInPolicy(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"the entry point":          {"a.rego", "package countersign\ndecision := {\"effect\": \"allow\"}", "a.rego:1: package countersign is built in"},
		"a helper of the floor":    {"a.rego", "package countersign\nordinary if true", "a.rego:1"},
		"by a longer rule":         {"a.rego", "package countersign\nrules.deny contains {} if false", "a.rego:1"},
		"a package beside":         {"a.rego", "package countersign.settings\nunlisted_writes := \"allow\"", "a.rego:1: package countersign.settings"},
		"a quoted package":         {"a.rego", "package countersign[\"catalog\"]\nx := 1", "a.rego:1: package countersign.catalog"},
		"settings as data":         {"a.json", `{"countersign": {"settings": {"unlisted_writes": "allow"}}}`, "a.json: countersign.settings"},
		"settings as YAML":         {"a.yaml", "countersign: {settings: {unlisted_writes: allow}}", "a.yaml: countersign.settings"},
		"all of it as data":        {"a.json", `{"countersign": "x"}`, "a.json: countersign"},
		"the decision as data":     {"a.json", `{"countersign": {"decision": {"effect": "allow"}}}`, "a.json: countersign.decision"},
		"deny as data":             {"a.json", `{"countersign": {"rules": {"deny": []}}}`, "countersign.rules.deny: has to be a rule"},
		"a typo in config":         {"a.json", `{"countersign": {"config": {"other": "deny"}}}`, "countersign.config.other: unknown key"},
		"a word in config":         {"a.json", `{"countersign": {"config": {"others": "denny"}}}`, "countersign.config.others"},
		"a typo in config as Rego": {"a.rego", "package countersign.config\nother := \"deny\"", "a.rego:2: countersign.config.other"},
		"config that is a list":    {"a.json", `{"countersign": {"config": []}}`, "countersign.config: want an object"},
		"asserted for resets":      {"a.json", `{"countersign": {"config": {"asserted_suffices": ["everything"]}}}`, "asserted_suffices"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "good.rego", "package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if true")
			write(t, dir, c.file, c.text)
			refusedWhole(t, dir, c.want)
		})
	}
}

// A rule that the built-in policy would not find, or could not read, is an error and not silence.
func TestRulesThatWouldHaveNoEffectAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"deny is true":               {"package countersign.rules\nimport rego.v1\n\ndeny if input.operation.sensitive", "policy.rego:4: deny has to be a set"},
		"deny is a string":           {"package countersign.rules\ndeny := \"no\"", "policy.rego:2: deny has to be a set"},
		"deny is an object":          {"package countersign.rules\ndeny[\"x\"] := {\"code\": \"x\", \"text\": \"y\"} if true", "policy.rego:2: deny has to be a set"},
		"deny is a longer name":      {"package countersign.rules\ndeny.reset contains {\"code\": \"x\", \"text\": \"y\"} if true", "policy.rego:2: deny has to be a set"},
		"deny is a function":         {"package countersign.rules\ndeny(x) := {x}", "policy.rego:2: deny has to be a set"},
		"deny has a default":         {"package countersign.rules\ndefault deny := false", "policy.rego:2: deny has to be a set"},
		"exempt is true":             {"package countersign.rules\nexempt := true", "policy.rego:2: exempt has to be a set"},
		"requirement is an object":   {"package countersign.rules\nrequirement := {\"providers\": [\"duo\"]}", "policy.rego:2: requirement has to be a set"},
		"deny in a package below":    {"package countersign.rules.finance\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if true", "deny counts in package countersign.rules only"},
		"a package of a rule's name": {"package countersign.rules.deny\nx contains 1 if true", "package countersign.rules.deny hides"},
		"a rule that is not Rego v1": {"package countersign.rules\ndeny[x] { x := 1 }", "policy.rego:2"},
		"a slip of the pen":          {"package countersign.rules\n\ndeny contains {\"code\": } if true", "policy.rego:3"},
		"an unknown function":        {"package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if frobnicate(1)", "policy.rego:2"},
		"an unsafe variable":         {"package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": y} if true", "policy.rego:2"},
		"two functions of one name":  {"package countersign.rules\nf(x) := 1\nf(x, y) := 2", "policy.rego"},
		"asking for the decision":    {"package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if data.countersign.decision.effect == \"allow\"", "recursive"},
		"nothing":                    {"", "policy.rego"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "policy.rego", c.text)
			refusedWhole(t, dir, c.want)
		})
	}
}

func TestDataFilesAreReadStrictly(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"the same key twice":     {"a.json", `{"vips": ["bob"], "vips": []}`, `"vips" is there twice`},
		"a key twice, deep":      {"a.json", `{"a": [{"b": 1, "b": 2}]}`, `"b" is there twice`},
		"the same key in YAML":   {"a.yaml", "vips: [bob]\nvips: []\n", "a.yaml"},
		"two YAML documents":     {"a.yaml", "a: 1\n---\nb: 2\n", "more than one"},
		"a YAML bomb":            {"a.yaml", "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n", "aliasing"},
		"two values":             {"a.json", `{} {}`, "more after"},
		"half a value":           {"a.json", `{"a": [1`, "a.json"},
		"no object":              {"a.json", `[1]`, "want an object"},
		"nothing":                {"a.yml", ``, "a.yml"},
		"not JSON":               {"a.json", `a: 1`, "a.json"},
		"nested without end":     {"a.json", strings.Repeat(`{"a":`, 500) + "1" + strings.Repeat("}", 500), "nested"},
		"a path of another file": {"b.json", `{"lists": {"vips": 1}}`, "lists.vips: defined in another file"},
		"a path of a rule":       {"b.json", `{"lib": {"helper": 1}}`, "lib"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "0.json", `{"lists": {"vips": ["bob"]}}`)
			write(t, dir, "0.rego", "package lib\nhelper := 2")
			write(t, dir, c.file, c.text)
			refusedWhole(t, dir, c.want)
		})
	}
}

func refusedWhole(t *testing.T, path, want string) {
	t.Helper()
	e, err := policy.New(options(path))
	if err != nil {
		t.Fatalf("New = %v, want an engine that refuses", err)
	}
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Ready = %v, want %q", err, want)
	}
	if e.Revision() != "" {
		t.Errorf("Revision = %q, want none", e.Revision())
	}
	denied(t, e, read(), policy.ErrUnavailable)
	if ds, err := e.DecideAll(t.Context(), []policy.Input{read()}); err == nil || ds != nil {
		t.Errorf("DecideAll = %v, %v", ds, err)
	}
}

func TestLibrariesDataAndSubpackagesAreWelcome(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "rules/rules.rego", `package countersign.rules
import rego.v1
import data.countersign.rules.finance
import data.lib
deny contains {"code": "vip", "text": "A VIP."} if {
	lib.vip(input.operation.resource.id)
	finance.closed
	data.countersign.rules.limits.resets == 3
}`)
	write(t, dir, "rules/finance.rego", "package countersign.rules.finance\nclosed := true")
	write(t, dir, "lib/lib.rego", "package lib\nvip(id) if id in data.people.vips")
	write(t, dir, "rules/broken_test.rego", "package countersign\nthis is no Rego")
	write(t, dir, "notes.txt", "not read")
	write(t, dir, ".hidden.rego", "package countersign")
	write(t, dir, "people.json", `{"people": {"vips": ["bob@contoso.com"], "n": 12345678901234567890}}`)
	extra := write(t, t.TempDir(), "more.yml", "people: {groups: [a]}\ncountersign: {rules: {limits: {resets: 3}}, config: {others: allow}}")
	if d := decide(t, start(t, options(dir, extra)), read()); d.Effect != policy.Deny || d.Reasons[0].Code != "vip" {
		t.Errorf("Decide = %+v", d)
	}
}

func TestPathsWithoutAnyPolicyAreRefused(t *testing.T) {
	empty, dir := t.TempDir(), t.TempDir()
	test := write(t, dir, "a_test.rego", "package a")
	for name, c := range map[string]struct{ path, want string }{
		"an empty directory": {empty, "no policy file"},
		"only tests":         {dir, "no policy file"},
		"a test":             {test, "no test"},
		"another kind":       {write(t, t.TempDir(), "a.txt", ""), "want a .rego"},
		"nothing there":      {filepath.Join(empty, "gone"), "gone"},
		"an empty name":      {"", "policy path"},
	} {
		t.Run(name, func(t *testing.T) { refusedWhole(t, c.path, c.want) })
	}
}

func TestDirectoriesThatContainThemselvesEnd(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.rego", "package a")
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	refusedWhole(t, dir, "deeper than")
}

func TestTheRevisionNamesContentAndNotPlace(t *testing.T) {
	text := "package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if input.a"
	revision := func(o policy.Options) string { return start(t, o).Revision() }
	one, two := write(t, t.TempDir(), "a.rego", text), write(t, t.TempDir(), "a.rego", text)
	a := revision(options(one))
	if b := revision(options(two)); a != b {
		t.Errorf("the same files elsewhere: %s and %s", a, b)
	}
	o := options(two)
	o.Settings = map[string]any{"unlisted_writes": "deny"}
	others := []string{revision(options()), revision(options(write(t, t.TempDir(), "a.rego", text+"\n"))), revision(o)}
	for i, b := range others {
		if a == b {
			t.Errorf("another policy (%d) has the same revision", i)
		}
	}
}
