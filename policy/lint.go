package policy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// LintLevel says how bad a finding is.
type LintLevel string

// The levels. An error is a rule that does not do what it says, or a file that the sidecar refuses.
const (
	LintError   LintLevel = "error"
	LintWarning LintLevel = "warning"
)

// LintRule is one thing that Lint looks for.
type LintRule struct {
	ID    string    `json:"id"`
	Level LintLevel `json:"level"`
	Text  string    `json:"text"` // what is wrong, and what to do
	Fixed bool      `json:"-"`    // no comment silences it: the sidecar would refuse the file all the same
}

// Finding is one place that should be changed. Text says what to fix.
type Finding struct {
	Place
	Column int       `json:"column"`
	ID     string    `json:"id"`
	Level  LintLevel `json:"level"`
	Text   string    `json:"text"`
}

// String writes file:line:column: level id: text.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s %s: %s", f.Place, f.Column, f.Level, f.ID, f.Text)
}

// LintReport has what was found, by place. Silenced counts what comments asked to leave out.
type LintReport struct {
	Findings []Finding `json:"findings"`
	Errors   int       `json:"errors"`
	Warnings int       `json:"warnings"`
	Silenced int       `json:"silenced"`
	Files    int       `json:"files"`
}

// Vocabulary has the names that rules may compare with. What is empty is not checked.
type Vocabulary struct {
	APIs       []string // of the catalog: microsoft-graph
	Operations []string // of the catalog: user.password.reset
	Providers  []string // of the configuration: duo
}

// LintOptions say what Lint looks at. Without Paths it is the built-in policy itself, with its tests if Base has them.
type LintOptions struct {
	Sources
	Known  Vocabulary
	Strict bool // warnings are errors
}

// linter looks at one policy.
type linter struct {
	known    Vocabulary
	files    []*lintFile
	data     map[string]any // customers' data documents
	compiled *ast.Compiler  // nil when it does not compile
	own      bool           // the built-in policy is what is looked at
	found    []Finding
	at       map[Finding]bool // a place is told of once
}

// lintFile is one module, as it was parsed.
type lintFile struct {
	source
	module  *ast.Module
	pkg     []string
	aliases map[ast.Var]ast.Ref // of imports
	ignores []*ignore
}

// Lint reads customers' files, tests included, and says what to fix in them. A file that cannot be read is an error;
// what is wrong with its content is a finding.
func Lint(ctx context.Context, o LintOptions) (LintReport, error) {
	l := &linter{known: o.Known, at: map[Finding]bool{}}
	n, err := l.load(ctx, o)
	if err != nil {
		return LintReport{}, err
	}
	for _, f := range l.files {
		l.hygiene(f)
		l.inputs(f)
		l.names(f)
		if f.test() {
			continue
		}
		l.elements(f)
		l.negations(f)
		l.costs(f)
		l.people(f)
	}
	l.linear()
	l.exemptions()
	l.tests()
	return l.report(o.Strict, n), nil
}

func (l *linter) report(strict bool, files int) LintReport {
	r := LintReport{Findings: []Finding{}, Files: files}
	for _, f := range l.silence(&r.Silenced) {
		if strict {
			f.Level = LintError
		}
		if f.Level == LintError {
			r.Errors++
		} else {
			r.Warnings++
		}
		r.Findings = append(r.Findings, f)
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return comparePlaces(a.Place, b.Place, cmp.Or(cmp.Compare(a.Column, b.Column), strings.Compare(a.ID, b.ID), strings.Compare(a.Text, b.Text)))
	})
	return r
}

// say adds a finding. The id is one of lintRules.
func (l *linter) say(at *ast.Location, id, format string, args ...any) {
	f := Finding{Place: placeOf(at), Column: 1, ID: id, Level: lintRules[id].Level, Text: fmt.Sprintf(format, args...)}
	if at != nil {
		f.Column = max(1, at.Col)
	}
	if !l.at[f] {
		l.at[f] = true
		l.found = append(l.found, f)
	}
}

// LintRules lists what Lint looks for, by id.
func LintRules() []LintRule {
	var out []LintRule
	for _, id := range slices.Sorted(maps.Keys(lintRules)) {
		r := lintRules[id]
		r.ID = id
		out = append(out, r)
	}
	return out
}

// lintRules is not changed by anybody.
var lintRules = map[string]LintRule{
	"compile":  {Level: LintError, Fixed: true, Text: "The file does not compile as the sidecar compiles it: no network, no clock, no chance."},
	"data":     {Level: LintError, Fixed: true, Text: "A data file cannot be taken: mend the key that is named."},
	"parse":    {Level: LintError, Fixed: true, Text: "The file is no Rego."},
	"reserved": {Level: LintError, Fixed: true, Text: "The file defines what the built-in policy keeps to itself: use package countersign.rules."},
	"v0":       {Level: LintError, Fixed: true, Text: "The file is written in Rego v0: let opa fmt --v0-v1 rewrite it."},
	"ignore":   {Level: LintError, Fixed: true, Text: "A comment that silences a finding names an id and a reason, and silences something."},

	"capability":        {Level: LintError, Text: "A requirement names what no provider can do: text, number_match or phishing_resistant."},
	"element":           {Level: LintError, Text: "An element has the wrong shape, and every call that it is about is denied: write {\"code\": …, \"text\": …}."},
	"exempt-input":      {Level: LintError, Text: "An exempt rule reads what it cannot see: go by operation, attested subject and context."},
	"exempt-reason":     {Level: LintError, Text: "An exempt rule gives no reason: write it into text, for the journal."},
	"misspelt":          {Level: LintError, Text: "A rule looks like deny, step_up, requirement or exempt, and is none of them: nobody asks for it."},
	"negated-opens":     {Level: LintWarning, Text: "A negated comparison is true of what is missing, and opens: ask for what must be there."},
	"negated-undefined": {Level: LintError, Text: "A negation has in it what may be missing, and then the rule does not fire: make it a rule of its own and negate that."},
	"text":              {Level: LintError, Text: "A reason has an empty text: say what the employee is to do."},
	"unknown-input":     {Level: LintError, Text: "A rule reads a field that the input does not have: see docs/policy.md."},
	"unknown-name":      {Level: LintError, Text: "A rule compares with a name that nothing has: see the catalog."},
	"upn-case":          {Level: LintWarning, Text: "People's names are compared with their case: use lower() on both sides."},
	"code":              {Level: LintWarning, Text: "A code is not in snake_case: agents and dashboards go by it."},
	"format":            {Level: LintWarning, Text: "The file is not formatted: run opa fmt -w."},
	"linear":            {Level: LintWarning, Text: "Every call pays for each of these rules: compare input.operation.name or segments with ==."},
	"missing-unequal":   {Level: LintWarning, Text: "!= is not true of what is missing, and then the rule does not fire: make == a rule of its own and negate that."},
	"path-match":        {Level: LintWarning, Text: "A URL has many spellings, and matching one costs: go by input.operation.name, or compare segments with ==."},
	"print":             {Level: LintWarning, Text: "print is for tests and does nothing in the sidecar: take it out."},
	"table":             {Level: LintWarning, Text: "A large table is searched one by one: make it an object and look the key up, or a set and use in."},
	"time":              {Level: LintWarning, Text: "The time is compared as text: use time.parse_rfc3339_ns(input.context.time)."},
	"untested":          {Level: LintWarning, Text: "No test reaches the rule: write one in a file named …_test.rego."},
	"unused":            {Level: LintWarning, Text: "A variable, import or helper is not used: take it out."},
}
