package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
)

// DefaultTestTime is how long one test may take.
const DefaultTestTime = 10 * time.Second

// TestOptions say what Test runs.
type TestOptions struct {
	Sources
	Run      string        // regular expression over package and name; "" for all
	Coverage bool          // measure which lines of customers' rules the tests reach
	Timeout  time.Duration // of one test; 0: DefaultTestTime
}

// TestOutcome is how one test came out.
type TestOutcome string

// The outcomes. A skipped test is one named todo_test_….
const (
	TestPassed  TestOutcome = "pass"
	TestFailed  TestOutcome = "fail"
	TestErred   TestOutcome = "error"
	TestSkipped TestOutcome = "skip"
)

// TestResult is one test and what became of it.
type TestResult struct {
	Place
	Package string      `json:"package"`
	Name    string      `json:"name"`
	Outcome TestOutcome `json:"outcome"`
	Millis  float64     `json:"ms"`
	Reason  string      `json:"reason,omitempty"` // the expression that was not true, or the error
	Cases   []string    `json:"cases,omitempty"`  // the failed ones of a test with cases
	Output  string      `json:"output,omitempty"` // of print
}

// TestReport has every test that ran, by place.
type TestReport struct {
	Tests    []TestResult    `json:"tests"`
	Passed   int             `json:"passed"`
	Failed   int             `json:"failed"` // errors included
	Skipped  int             `json:"skipped"`
	Coverage *CoverageReport `json:"coverage,omitempty"`
}

// Test runs the tests among customers' files with the built-in policy around them, as the sidecar would evaluate
// it: same builtins, same strictness. A policy that the sidecar would refuse is an error. So is a run without a test.
func Test(ctx context.Context, o TestOptions) (TestReport, error) {
	if _, err := regexp.Compile(o.Run); err != nil {
		return TestReport{}, fmt.Errorf("policy: run: %w", err)
	}
	caps := capabilities()
	a, covering, err := o.assemble(caps)
	if err != nil {
		return TestReport{}, err
	}
	txn, err := a.store.NewTransaction(ctx)
	if err != nil {
		return TestReport{}, fmt.Errorf("policy: tests: %w", err)
	}
	defer a.store.Abort(ctx, txn)
	compiler := ast.NewCompiler().WithCapabilities(caps).WithDefaultRegoVersion(ast.RegoV1).WithEnablePrintStatements(true).
		WithPathConflictsCheck(storage.NonEmpty(ctx, a.store, txn))
	runner := tester.NewRunner().SetCompiler(compiler).SetStore(a.store).SetModules(a.modules).
		RaiseBuiltinErrors(true).Filter(o.Run).SetTimeout(cmp.Or(o.Timeout, DefaultTestTime))
	var covered *cover.Cover
	if o.Coverage {
		covered = cover.New()
		runner.SetCoverageRuns(nil).SetCoverageQueryTracer(covered)
	}
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		return TestReport{}, err
	}
	var report TestReport
	for r := range results {
		report.add(r)
	}
	for i, t := range report.Tests {
		if t.Outcome == TestFailed && len(t.Cases) == 0 {
			report.Tests[i].Reason = whyFailed(ctx, t, rego.Compiler(compiler), rego.Store(a.store), rego.Transaction(txn))
		}
	}
	if err := ctx.Err(); err != nil {
		return TestReport{}, fmt.Errorf("policy: tests: %w", err)
	}
	if len(report.Tests) == 0 {
		return TestReport{}, errors.New("no test found: tests are rules named test_… in files named …_test.rego")
	}
	slices.SortFunc(report.Tests, func(a, b TestResult) int {
		return comparePlaces(a.Place, b.Place, strings.Compare(a.Name, b.Name))
	})
	if covered != nil {
		c := coverageOf(covered, covering)
		report.Coverage = &c
	}
	return report, nil
}

// assemble puts everything together, and returns besides the modules whose coverage counts, by file.
func (o TestOptions) assemble(caps *ast.Capabilities) (assembly, map[string]*ast.Module, error) {
	base, custom, settings, err := o.read()
	if err != nil {
		return assembly{}, nil, err
	}
	if o.Testing != nil {
		c := collector{fsys: o.Testing}
		if err := c.walk(".", 0); err != nil {
			return assembly{}, nil, fmt.Errorf("policy: testing library: %w", err)
		}
		base = append(base, c.found...)
	}
	a, err := assemble(base, custom, settings, caps)
	if err != nil {
		return assembly{}, nil, err
	}
	covering := map[string]*ast.Module{}
	for _, s := range custom {
		if s.module() && !s.test() {
			covering[s.file] = a.modules[s.name]
		}
	}
	return a, covering, nil
}

func (r *TestReport) add(t *tester.Result) {
	out := TestResult{
		Place: placeOf(t.Location), Package: strings.TrimPrefix(t.Package, "data."), Name: t.Name,
		Millis: float64(t.Duration.Microseconds()) / 1000, Output: string(t.Output),
	}
	switch {
	case t.Skip:
		out.Outcome = TestSkipped
		r.Skipped++
	case t.Error != nil:
		out.Outcome, out.Reason = TestErred, t.Error.Error()
		r.Failed++
	case t.Fail:
		out.Outcome = TestFailed
		r.Failed++
	case t.Pass():
		out.Outcome = TestPassed
		r.Passed++
	default:
		out.Outcome = TestErred
		r.Failed++
	}
	for name, sub := range t.SubResults.Iter {
		if sub.Fail && len(sub.SubResults) == 0 {
			out.Cases = append(out.Cases, strings.Join(name, "/"))
		}
	}
	r.Tests = append(r.Tests, out)
}

// whyFailed runs a failed test again and says which of its expressions was not true, "" when that cannot be told.
func whyFailed(ctx context.Context, t TestResult, opts ...func(*rego.Rego)) string {
	watch := newTracer()
	ctx, stop := context.WithTimeout(ctx, DefaultTestTime)
	defer stop()
	opts = append(opts, rego.Query(fmt.Sprintf("data.%s.%s", t.Package, t.Name)), rego.QueryTracer(watch))
	if _, err := rego.New(opts...).Eval(ctx); err != nil {
		return ""
	}
	x, ok := watch.stopped[t.Place]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s: not true: %s", location(x.Location), oneLine(x.Location))
}

// CoverageReport says which lines of customers' rules the tests reach. Percent is over all files.
type CoverageReport struct {
	Percent float64        `json:"percent"`
	Files   []FileCoverage `json:"files"`
}

// FileCoverage is the coverage of one file, with the first and last line of what no test reaches.
type FileCoverage struct {
	File       string   `json:"file"`
	Percent    float64  `json:"percent"`
	NotCovered [][2]int `json:"not_covered"`
}

// coverageOf reports on the given modules only: those of customers, without their tests.
func coverageOf(c *cover.Cover, modules map[string]*ast.Module) CoverageReport {
	out := CoverageReport{Files: []FileCoverage{}}
	report := c.Report(modules)
	lines, covered := 0, 0
	for file := range modules {
		r, ok := report.Files[file]
		if !ok {
			continue
		}
		f := FileCoverage{File: file, Percent: r.Coverage, NotCovered: [][2]int{}}
		if r.CoveredLines+r.NotCoveredLines == 0 {
			f.Percent = 100
		}
		for _, n := range r.NotCovered {
			if last := len(f.NotCovered) - 1; last >= 0 && n.Start.Row <= f.NotCovered[last][1]+1 {
				f.NotCovered[last][1] = max(f.NotCovered[last][1], n.End.Row)
				continue
			}
			f.NotCovered = append(f.NotCovered, [2]int{n.Start.Row, n.End.Row})
		}
		lines += r.CoveredLines + r.NotCoveredLines
		covered += r.CoveredLines
		out.Files = append(out.Files, f)
	}
	slices.SortFunc(out.Files, func(a, b FileCoverage) int { return strings.Compare(a.File, b.File) })
	out.Percent = 100
	if lines > 0 {
		out.Percent = 100 * float64(covered) / float64(lines)
	}
	return out
}

func comparePlaces(a, b Place, otherwise int) int {
	if c := strings.Compare(a.File, b.File); c != 0 {
		return c
	}
	if a.Line != b.Line {
		return a.Line - b.Line
	}
	return otherwise
}
