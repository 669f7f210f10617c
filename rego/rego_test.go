package rego_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/rego"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

const threshold = 95.0 // per cent of the built-in policy that its tests must reach

// modules parses all of this folder, tests included.
func modules(t *testing.T) map[string]*ast.Module {
	t.Helper()
	files, err := filepath.Glob("*.rego")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v", files, err)
	}
	ms := map[string]*ast.Module{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if ms[file], err = ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1}); err != nil {
			t.Fatal(err)
		}
	}
	return ms
}

func TestRegoTestsPassAndCoverThePolicy(t *testing.T) {
	ms := modules(t)
	coverage := cover.New()
	store := inmem.New()
	ctx := t.Context()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Abort(ctx, txn)
	runner := tester.NewRunner().
		SetCompiler(ast.NewCompiler().WithStrict(true).WithDefaultRegoVersion(ast.RegoV1)).
		SetStore(store).SetModules(ms).SetCoverageQueryTracer(coverage).SetTimeout(time.Minute)
	results, err := runner.RunTests(ctx, txn)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for r := range results {
		ran++
		if !r.Pass() {
			t.Errorf("%s:%d: %s failed: %v", r.Location.File, r.Location.Row, r.Name, r.Error)
		}
	}
	if ran < 40 {
		t.Errorf("%d tests ran, want at least 40", ran)
	}
	policy := map[string]*ast.Module{}
	for file, m := range ms {
		if !strings.HasSuffix(file, "_test.rego") {
			policy[file] = m
		}
	}
	report := coverage.Report(policy)
	if report.Coverage < threshold {
		for file, r := range report.Files {
			t.Logf("%s: not covered: %v", file, r.NotCovered)
		}
		t.Errorf("coverage = %.1f %%, want %.1f %%", report.Coverage, threshold)
	}
}

func TestRegoIsFormatted(t *testing.T) {
	var files []string
	for _, dir := range []string{".", "../examples", "../policy/testdata"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(name, ".rego") {
				files = append(files, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := format.SourceWithOpts(file, text, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(text, want) {
			t.Errorf("%s is not as opa fmt writes it", file)
		}
	}
}

func TestEveryPolicyModuleIsEmbeddedAndNoTestIs(t *testing.T) {
	files, err := filepath.Glob("*.rego")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.rego") })
	embedded, err := fs.Glob(rego.Policies(), "*")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(files, embedded) {
		t.Errorf("embedded = %v, want %v", embedded, files)
	}
}

func TestCatalogHoldsJSONAtItsRoot(t *testing.T) {
	files, err := fs.Glob(rego.Catalog(), "*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("Glob = %v, %v", files, err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(rego.Catalog(), file)
		if err != nil {
			t.Error(err)
		}
		if !json.Valid(text) {
			t.Errorf("%s is no JSON", file)
		}
	}
}
