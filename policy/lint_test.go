package policy_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
	"countersign/policy"
	"countersign/rego"
)

// vocabulary is what the command passes in.
func vocabulary(t *testing.T) policy.Vocabulary {
	t.Helper()
	c, err := catalog.Load(rego.Catalog())
	if err != nil {
		t.Fatal(err)
	}
	v := policy.Vocabulary{APIs: c.Names(), Providers: []string{"duo", "m365"}}
	for _, name := range v.APIs {
		a, _ := c.ByName(name)
		for _, e := range a.Entries() {
			v.Operations = append(v.Operations, e.Name)
		}
	}
	return v
}

func lint(t *testing.T, o policy.LintOptions) policy.LintReport {
	t.Helper()
	r, err := policy.Lint(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lintOptions(t *testing.T, paths ...string) policy.LintOptions {
	t.Helper()
	return policy.LintOptions{
		Sources: policy.Sources{Base: rego.Policies(), Testing: rego.Testing(), Paths: paths, Settings: map[string]any{"unlisted_writes": "step_up"}},
		Known:   vocabulary(t),
	}
}

func TestTheBuiltInPolicyLintsClean(t *testing.T) {
	o := lintOptions(t)
	o.Base = os.DirFS("../rego")
	r := lint(t, o)
	for _, f := range r.Findings {
		t.Error(f)
	}
	if r.Files < 10 {
		t.Errorf("%d files, want the policy and its tests", r.Files)
	}
}

func TestTheWorkedPoliciesLintClean(t *testing.T) {
	for _, dir := range []string{worked, "testdata/examples"} {
		o := lintOptions(t, dir)
		for _, f := range lint(t, o).Findings {
			if dir == "testdata/examples" && f.ID == "untested" {
				continue // the tests of these are in Go
			}
			t.Error(f)
		}
	}
}

const head = "package countersign.rules\n\n"

// reason begins a deny rule.
const reason = `deny contains {"code": "x_y", "text": "No."} if `

type lintCase struct {
	id   string
	line int
	bad  string
	good string
}

// lintCases has for every id what brings it about, with the line it is told of, and what is like it and right.
var lintCases = []lintCase{
	{"parse", 3, head + "deny contains {", head + reason + "input.operation.sensitive\n"},
	{"v0", 1, "package countersign.rules\n\ndeny[x] { x := input.operation.name }\n", head + reason + "input.operation.sensitive\n"},
	{"compile", 3, head + reason + "http.send({})\n", head + reason + "input.operation.sensitive\n"},
	{"compile", 3, head + reason + "undefined_helper\n", head + reason + "input.operation.sensitive\n"},
	{"reserved", 1, "package countersign\n\ndecision := 1\n", "package acme\n\ndecision := 1\n"},
	{"reserved", 3, head + "deny if input.operation.sensitive\n", head + reason + "input.operation.sensitive\n"},
	{"reserved", 3, "package countersign.config\n\nother := 1\n", "package countersign.config\n\nothers := \"deny\"\n"},

	{"element", 3, head + `deny contains "no" if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"element", 3, head + `deny contains {"code": "x_y"} if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"element", 3, head + `deny contains {"text": "No."} if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"element", 3, head + `deny contains {"code": 7, "text": "No."} if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"element", 3, head + `deny contains {"code": "x_y", "text": "No.", "level": 3} if input.operation.sensitive` + "\n",
		head + `deny contains {"code": code, "text": sprintf("No %s.", [code])} if code := input.operation.category` + "\n"},
	{"element", 3, head + "deny contains r if {\n\tr := \"no\"\n}\n", head + "deny contains r if {\n\tinput.operation.sensitive\n\tr := {\"code\": \"x_y\", \"text\": \"No.\"}\n}\n"},
	{"element", 3, head + `step_up contains {"code": "x_y", "text": "Ask.", "requirement": ["duo"]} if input.operation.sensitive` + "\n",
		head + `step_up contains {"code": "x_y", "text": "Ask.", "requirement": {"providers": ["duo"]}} if input.operation.sensitive` + "\n"},
	{"element", 3, head + `requirement contains {"provider": ["duo"]} if input.operation.sensitive` + "\n", head + `requirement contains {"providers": ["duo"]} if input.operation.sensitive` + "\n"},
	{"element", 3, head + `requirement contains {"providers": "duo"} if input.operation.sensitive` + "\n", head + `requirement contains {"amr": {"hwk"}} if input.operation.sensitive` + "\n"},
	{"element", 3, head + `requirement contains {"approver": "manager"} if input.operation.sensitive` + "\n", head + `requirement contains {"approver": "requester"} if input.operation.sensitive` + "\n"},
	{"capability", 3, head + `requirement contains {"capabilities": ["txt"]} if input.operation.sensitive` + "\n", head + `requirement contains {"capabilities": ["text"]} if input.operation.sensitive` + "\n"},
	{"text", 3, head + `deny contains {"code": "x_y", "text": " "} if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"code", 3, head + `deny contains {"code": "Not-Now", "text": "No."} if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"exempt-reason", 3, head + `exempt contains {"code": "drill"} if input.operation.resource.id == "x"` + "\n", head + `exempt contains {"code": "drill", "text": "RISK-118"} if input.operation.resource.id == "x"` + "\n"},
	{"exempt-reason", 3, head + `exempt contains {"code": "drill", "text": ""} if input.operation.resource.id == "x"` + "\n", head + `exempt contains {"code": "drill", "text": "RISK-118"} if input.operation.resource.id == "x"` + "\n"},
	{"exempt-input", 3, head + `exempt contains {"code": "drill", "text": "RISK-118"} if input.request.method == "PATCH"` + "\n", head + `exempt contains {"code": "drill", "text": "RISK-118"} if input.subject.agent == "x"` + "\n"},
	{"exempt-input", 3, head + `exempt contains {"code": "drill", "text": "RISK-118"} if input.subject.ticket == "T-1"` + "\n", head + `exempt contains {"code": "drill", "text": "RISK-118"} if input.subject.agent == "x"` + "\n"},
	{"exempt-input", 5, head + `exempt contains {"code": "drill", "text": "RISK-118"} if helper` + "\n\nhelper if input.request.body.drill\n", head + reason + "helper\n\nhelper if input.request.body.drill\n"},
	{"misspelt", 3, head + `denny contains {"code": "x_y", "text": "No."} if input.operation.sensitive` + "\n", head + reason + "input.operation.sensitive\n"},
	{"misspelt", 3, head + `stepup contains {"code": "x_y", "text": "No."} if input.operation.sensitive` + "\n", head + reason + "denied\n\ndenied if input.operation.sensitive\n"},
	{"misspelt", 3, head + "allow if input.operation.sensitive\n", head + reason + "not allow\n\nallow if input.operation.sensitive\n"},

	{"unknown-input", 3, head + reason + `input.operaton.name == "x"` + "\n", head + reason + "input.operation.name\n"},
	{"unknown-input", 3, head + reason + `input.subject.requester.upn == "x"` + "\n", head + reason + `input.subject.requester.claims.upn == "x"` + "\n"},
	{"unknown-input", 3, head + reason + `input.request.headers["X-Id"][_] == "x"` + "\n", head + reason + `input.request.headers["x-id"][_] == "x"` + "\n"},
	{"unknown-input", 3, head + reason + `input.operation.name.first == "x"` + "\n", head + reason + `input.request.body.operation.name.first == "x"` + "\n"},
	{"unknown-input", 3, head + "import input.operaton as op\n\n" + reason + `op.name == "x"` + "\n", head + "import input.operation as op\n\n" + reason + `op.resource.id == "x"` + "\n"},
	{"unknown-name", 3, head + reason + `input.operation.name == "user.pasword.reset"` + "\n", head + reason + `input.operation.name == "user.password.reset"` + "\n"},
	{"unknown-name", 3, head + reason + `"admin_privileges" == input.operation.category` + "\n", head + reason + `"admin_privilege" == input.operation.category` + "\n"},
	{"unknown-name", 3, head + reason + `input.operation.api in {"msgraph"}` + "\n", head + reason + `input.operation.api in {"microsoft-graph"}` + "\n"},
	{"unknown-name", 3, head + reason + `startswith(input.operation.name, "usr.")` + "\n", head + reason + `startswith(input.operation.name, "user.")` + "\n"},
	{"unknown-name", 3, head + reason + "input.operation.category in held\n\nheld := {\"credentials\"}\n", head + reason + "input.operation.category in held\n\nheld := {\"read\"}\n"},
	{"unknown-name", 3, head + `requirement contains {"providers": ["okta"]} if input.operation.sensitive` + "\n", head + `requirement contains {"providers": ["m365"]} if input.operation.sensitive` + "\n"},

	{"negated-undefined", 3, head + reason + `not startswith(input.request.body.name, "x")` + "\n", head + reason + "not named\n\nnamed if startswith(input.request.body.name, \"x\")\n"},
	{"negated-undefined", 3, head + reason + `not input.subject.requester.tid in {"a"}` + "\n", head + reason + `not input.operation.category in {"read"}` + "\n"},
	{"negated-undefined", 3, head + reason + "not ours(input.operation.params.tenant)\n\nours(t) if t == \"a\"\n", head + reason + "not ours(input.operation.resource.id)\n\nours(t) if t == \"a\"\n"},
	{"negated-undefined", 5, head + reason + "outsider\n\noutsider if not lower(input.subject.requester.oid) == \"a\"\n", head + reason + "not insider\n\ninsider if lower(input.subject.requester.oid) == \"a\"\n"},
	{"negated-undefined", 3, head + reason + "not lower(tenant) == \"a\"\n\ntenant := input.subject.requester.tid\n", head + reason + "not lower(tenant) == \"a\"\n\ndefault tenant := \"\"\n\ntenant := input.subject.requester.tid\n"},
	{"negated-undefined", 3, head + `requirement contains {"providers": ["duo"]} if not input.operation.params.kind in {"a"}` + "\n", head + `requirement contains {"providers": ["duo"]} if not input.operation.params.kind == "a"` + "\n"},
	{"negated-opens", 5, head + reason + "not allowed\n\nallowed if not input.request.body.country == \"XX\"\n", head + reason + "not allowed\n\nallowed if input.request.body.country == \"DE\"\n"},
	{"missing-unequal", 3, head + reason + `input.subject.requester.tid != "a"` + "\n", head + reason + "not home\n\nhome if input.subject.requester.tid == \"a\"\n"},
	{"missing-unequal", 3, head + reason + `input.operation.params.role != "a"` + "\n", head + reason + "{\n\tinput.operation.params.role\n\tinput.operation.params.role != \"a\"\n}\n"},

	{"path-match", 3, head + reason + "regex.match(`^/v1.0/users/`, input.request.path)\n", head + reason + `input.request.segments[1] == "users"` + "\n"},
	{"path-match", 3, head + reason + `glob.match("users/*", ["/"], concat("/", input.request.segments))` + "\n", head + reason + `input.request.segments[1] == "users"` + "\n"},
	{"linear", 3, head + strings.Repeat(reason+"regex.match(`^u.er`, input.operation.name)\n\n", 7) + reason + "regex.match(`^u.er`, input.operation.name)\n",
		head + strings.Repeat(reason+"input.operation.resource.id == \"u\"\n\n", 8) + reason + "regex.match(`^u.er`, input.operation.name)\n"},
	{"table", 4, head + reason + "{\n\tsome x in table\n\tx == input.operation.resource.id\n}\n\ntable := [" + numbers(64) + "]\n", head + reason + "input.operation.resource.id in table\n\ntable := {" + numbers(64) + "}\n"},
	{"table", 3, head + reason + "input.operation.resource.id in table\n\ntable := [" + numbers(64) + "]\n", head + reason + "input.operation.resource.id in table\n\ntable := [" + numbers(9) + "]\n"},
	{"table", 3, head + reason + "table[_] == input.operation.resource.id\n\ntable := [" + numbers(64) + "]\n", head + reason + "table[input.operation.resource.id]\n\ntable := {" + numbers(64) + "}\n"},

	{"print", 4, head + reason + "{\n\tprint(input.operation.name)\n\tinput.operation.sensitive\n}\n", head + reason + "input.operation.sensitive\n"},
	{"format", 3, head + reason + "input.operation.sensitive   \n", head + reason + "input.operation.sensitive\n"},
	{"time", 3, head + reason + `input.context.time > "2026-12-24T00:00:00Z"` + "\n", head + reason + `time.parse_rfc3339_ns(input.context.time) > 5` + "\n"},
	{"upn-case", 3, head + reason + `input.operation.resource.id == "bob@contoso.com"` + "\n", head + reason + `lower(input.operation.resource.id) == "bob@contoso.com"` + "\n"},
	{"upn-case", 3, head + reason + `lower(input.operation.resource.id) == "Bob@contoso.com"` + "\n", head + reason + `input.operation.resource.id == "Finance"` + "\n"},
	{"upn-case", 3, head + reason + "input.operation.params.member == input.subject.requester.id\n", head + reason + "lower(input.operation.params.member) == input.subject.requester.id\n"},
	{"unused", 5, head + reason + "input.operation.sensitive\n\nhelper if input.operation.sensitive\n", head + reason + "helper\n\nhelper if input.operation.sensitive\n"},
	{"unused", 4, head + reason + "{\n\tx := input.operation.sensitive\n}\n", head + reason + "{\n\tx := input.operation.sensitive\n\tx == true\n}\n"},
	{"unused", 3, head + "import data.acme\n\n" + reason + "input.operation.sensitive\n", head + "import data.acme\n\n" + reason + "acme.x\n"},

	{"ignore", 3, head + "# countersign:ignore=print\n" + reason + "{\n\tprint(1)\n\tinput.operation.sensitive\n}\n", head + "# countersign:ignore=print we are looking at it\n" + reason + "{\n\tprint(1)\n\tinput.operation.sensitive\n}\n"},
	{"ignore", 3, head + "# countersign:ignore=prnt we are looking at it\n" + reason + "input.operation.sensitive\n", head + reason + "input.operation.sensitive\n"},
	{"ignore", 3, head + "# countersign:ignore=compile we need it\n" + reason + "input.operation.sensitive\n", head + reason + "input.operation.sensitive\n"},
	{"ignore", 3, head + "# countersign:ignore=print nothing is printed\n" + reason + "input.operation.sensitive\n", head + reason + "input.operation.sensitive # countersign: ignore this\n"},
	{"ignore", 3, head + "# countersign:ignore print it\n" + reason + "input.operation.sensitive\n", head + reason + "{\n\tprint(1) # countersign:ignore=print we are looking at it\n\tinput.operation.sensitive\n}\n"},
}

func numbers(n int) string {
	var out []string
	for i := range n {
		out = append(out, strconv.Itoa(1000+i))
	}
	return strings.Join(out, ", ")
}

// only are the findings that a case is about: each rule of a case is untested, and some show more than one slip.
func only(fs []policy.Finding, id string) (out []policy.Finding) {
	for _, f := range fs {
		if f.ID == id {
			out = append(out, f)
		}
	}
	return out
}

// shortPolicy stands in for the built-in policy, which takes long to compile.
var shortPolicy = fstest.MapFS{"decision.rego": {Data: []byte("package countersign\n\ndecision := data.countersign.rules\n")}}

func TestLintTellsWhatToFix(t *testing.T) {
	known := vocabulary(t)
	for _, c := range lintCases {
		for text, want := range map[string]int{c.bad: c.line, c.good: 0} {
			r := lint(t, policy.LintOptions{
				Sources: policy.Sources{Base: shortPolicy, Paths: []string{write(t, t.TempDir(), "rules.rego", text)}}, Known: known,
			})
			got := only(r.Findings, c.id)
			switch {
			case want == 0 && len(got) > 0:
				t.Errorf("%s: %v\nin\n%s", c.id, got, text)
			case want > 0 && !slices.ContainsFunc(got, func(f policy.Finding) bool { return f.Line == want && f.Column > 0 && f.Text != "" }):
				t.Errorf("%s: %v, want line %d\nin\n%s", c.id, r.Findings, want, text)
			}
			if want > 0 || slices.Contains([]string{"linear", "ignore", "negated-undefined"}, c.id) { // the right ones of these match and compare as they should not
				continue
			}
			for _, f := range r.Findings {
				if f.ID != "untested" {
					t.Errorf("right for %s: %v\nin\n%s", c.id, f, text)
				}
			}
		}
	}
}

func TestEveryLintRuleHasACase(t *testing.T) {
	elsewhere := []string{"data", "untested"} // tested below: they are about more than one file
	for _, r := range policy.LintRules() {
		if !slices.Contains(elsewhere, r.ID) && !slices.ContainsFunc(lintCases, func(c lintCase) bool { return c.id == r.ID }) {
			t.Errorf("no case for %s", r.ID)
		}
		if r.Text == "" || r.Level == "" {
			t.Errorf("%s has no text or level", r.ID)
		}
	}
}

func TestLintLooksForTests(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.rego", head+reason+"input.operation.sensitive\n")
	write(t, dir, "b.rego", head+strings.Replace(reason, "x_y", "other", 1)+"input.operation.sensitive\n")
	o := policy.LintOptions{Sources: policy.Sources{Base: shortPolicy, Paths: []string{dir}}}
	untested := func() (files []string) {
		for _, f := range only(lint(t, o).Findings, "untested") {
			files = append(files, filepath.Base(f.File))
		}
		return files
	}
	if got := untested(); !slices.Equal(got, []string{"a.rego", "b.rego"}) {
		t.Errorf("without tests: %v", got)
	}
	write(t, dir, "a_test.rego", "package countersign.rules_test\n\ntest_a if data.countersign.decision.effect == \"deny\" with input as {}\n")
	if got := untested(); !slices.Equal(got, []string{"b.rego"}) {
		t.Errorf("with a test of a.rego: %v", got)
	}
	write(t, dir, "all_test.rego", "package countersign.rules_test\n\nimport data.countersign\n\ntest_b if \"other\" in countersign.decision.reasons with input as {}\n")
	if got := untested(); len(got) != 0 {
		t.Errorf("with a test that names the code of b.rego: %v", got)
	}
}

func TestLintReadsDataFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "rules.rego", head+reason+"input.operation.sensitive\n")
	file := write(t, dir, "data.yaml", "countersign: {config: {other: deny}}\n")
	r := lint(t, policy.LintOptions{Sources: policy.Sources{Base: shortPolicy, Paths: []string{dir}}})
	if got := only(r.Findings, "data"); len(got) != 1 || got[0].File != file || !strings.Contains(got[0].Text, "countersign.config.other") {
		t.Errorf("Findings = %v", r.Findings)
	}
}

func TestStrictLintMakesErrorsOfWarnings(t *testing.T) {
	o := policy.LintOptions{Sources: policy.Sources{Base: shortPolicy, Paths: []string{write(t, t.TempDir(), "rules.rego", head+reason+"input.operation.sensitive\n")}}}
	if r := lint(t, o); r.Errors != 0 || r.Warnings != 1 {
		t.Errorf("%+v, want one warning", r)
	}
	o.Strict = true
	if r := lint(t, o); r.Errors != 1 || r.Warnings != 0 || r.Findings[0].Level != policy.LintError {
		t.Errorf("%+v, want one error", r)
	}
}

func TestAReasonSilencesAWholeRule(t *testing.T) {
	text := head + "# The vendor's API has no other spelling.\n# countersign:ignore=path-match,upn-case only this URL exists\n" + reason +
		"{\n\tstartswith(input.request.path, \"/x\")\n\tinput.operation.resource.id == \"a@b\"\n}\n"
	r := lint(t, policy.LintOptions{Sources: policy.Sources{Base: shortPolicy, Paths: []string{write(t, t.TempDir(), "rules.rego", text)}}})
	if r.Silenced != 2 || len(r.Findings) != 1 || r.Findings[0].ID != "untested" {
		t.Errorf("%+v", r)
	}
}

func TestTheDocumentListsEveryLintRule(t *testing.T) {
	doc, err := os.ReadFile("../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range policy.LintRules() {
		if !strings.Contains(string(doc), "`"+rule.ID+"`") {
			t.Errorf("docs/policy.md does not name %s", rule.ID)
		}
	}
}
