package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// entry is the one question that is asked of the policy.
const entry = "data.countersign.decision"

// builtIn begins the names of our own modules.
const builtIn = "rego:"

// compile makes a ruleset of the built-in policy, customers' files and the settings, or says what is wrong with them.
func compile(ctx context.Context, base, custom []source, settings map[string]any) (r *ruleset, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("panic while compiling: %v", p)
		}
	}()
	caps := capabilities()
	a, err := assemble(base, custom, settings, caps)
	if err != nil {
		return nil, err
	}
	compiler, err := compileModules(ctx, a.modules, a.store, caps)
	if err != nil {
		return nil, err
	}
	query, err := rego.New(
		rego.Query(entry), rego.Compiler(compiler), rego.Store(a.store), rego.Capabilities(caps),
		// A builtin that fails, say lower() of a number, would make its rule undefined: a deny that is not one.
		rego.StrictBuiltinErrors(true),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	return &ruleset{
		query: query, revision: a.revision, asserted: a.asserted, eager: eagerInput(compiler), rules: rulesOf(a.modules), files: customFiles(custom),
	}, nil
}

// assembly is a policy that has been read and put together, and not yet compiled.
type assembly struct {
	modules  map[string]*ast.Module
	store    storage.Store
	asserted map[string]bool
	revision string
}

func assemble(base, custom []source, settings map[string]any, caps *ast.Capabilities) (assembly, error) {
	modules, err := parseModules(base, custom, caps)
	if err != nil {
		return assembly{}, err
	}
	data, err := readData(custom)
	if err != nil {
		return assembly{}, err
	}
	asserted, err := assertedFor(data)
	if err != nil {
		return assembly{}, err
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return assembly{}, fmt.Errorf("settings: %w", err)
	}
	if err := merge(data, map[string]any{"countersign": map[string]any{"settings": settings}}, ""); err != nil {
		return assembly{}, err
	}
	return assembly{
		modules: modules, asserted: asserted, revision: revisionOf(base, custom, text),
		store: inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true)),
	}, nil
}

func compileModules(ctx context.Context, modules map[string]*ast.Module, store storage.Store, caps *ast.Capabilities) (_ *ast.Compiler, err error) {
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, err
	}
	defer store.Abort(ctx, txn)
	compiler := ast.NewCompiler().
		WithCapabilities(caps).
		WithDefaultRegoVersion(ast.RegoV1).
		// Data and rules of one name: one of them would be without effect.
		WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
	compiler.Compile(modules)
	if compiler.Failed() {
		return nil, compiler.Errors
	}
	return compiler, nil
}

func parseModules(base, custom []source, caps *ast.Capabilities) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	var wrong []error
	parse := func(s source, own func(*ast.Module) error) {
		if !s.module() {
			return
		}
		m, err := ast.ParseModuleWithOpts(s.file, string(s.body), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
		if err == nil && m == nil {
			err = fmt.Errorf("%s: empty module", s.file)
		}
		if err == nil {
			err = own(m)
		}
		if err != nil {
			wrong = append(wrong, err)
			return
		}
		modules[s.name] = m
	}
	for _, s := range base {
		s.name = builtIn + s.name // no customer's file may replace a built-in one by its name
		parse(s, func(*ast.Module) error { return nil })
	}
	for _, s := range custom {
		if s.test() {
			parse(s, testModule)
		} else {
			parse(s, ownModule)
		}
	}
	return modules, errors.Join(wrong...)
}

// ownModule refuses a module in our part of the tree (invariant I11), and rules that the built-in policy would not
// find or could not read.
func ownModule(m *ast.Module) error { return problemsOf(m, inspectModule) }

// problemsOf makes one error of what an inspection says.
func problemsOf(m *ast.Module, inspect func(*ast.Module, func(*ast.Location, string, ...any))) error {
	var wrong []error
	inspect(m, func(l *ast.Location, format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%s: %s", location(l), fmt.Sprintf(format, args...)))
	})
	return errors.Join(wrong...)
}

func inspectModule(m *ast.Module, say func(*ast.Location, string, ...any)) {
	at := m.Package.Location
	pkg := packagePath(m.Package)
	switch {
	case len(pkg) == 0 || pkg[0] != "countersign":
	case len(pkg) == 1:
		say(at, "package countersign is built in: use package countersign.rules")
	case pkg[1] == "config" && len(pkg) == 2:
		for _, rule := range m.Rules {
			if name := ruleName(rule); name != "others" || len(rule.Head.Ref()) != 1 {
				say(rule.Location, "countersign.config.%s: unknown key, or one that has to be data", name)
			}
		}
	case pkg[1] == "rules" && len(pkg) == 2:
		for _, rule := range m.Rules {
			checkRule(rule, say)
		}
	case pkg[1] == "rules" && slices.Contains(entryPoints[:], pkg[2]):
		say(at, "package countersign.rules.%s hides the rule of that name", pkg[2])
	case pkg[1] == "rules":
		for _, rule := range m.Rules {
			if name := ruleName(rule); slices.Contains(entryPoints[:], name) {
				say(rule.Location, "%s counts in package countersign.rules only, not in %s", name, strings.Join(pkg, "."))
			}
		}
	default:
		say(at, "package %s: a customer may define countersign.rules and countersign.config only", strings.Join(pkg, "."))
	}
}

// testModule refuses tests that would change what they test: the sidecar does not load them.
func testModule(m *ast.Module) error { return problemsOf(m, inspectTest) }

func inspectTest(m *ast.Module, say func(*ast.Location, string, ...any)) {
	pkg := packagePath(m.Package)
	if len(pkg) == 0 || pkg[0] != "countersign" || len(pkg) > 1 && pkg[1] == "rules_test" {
		return
	}
	if len(pkg) != 2 || pkg[1] != "rules" {
		say(m.Package.Location, "package %s: tests go into countersign.rules_test, countersign.rules or a package of your own", strings.Join(pkg, "."))
		return
	}
	for _, rule := range m.Rules {
		if name := ruleName(rule); slices.Contains(entryPoints[:], name) {
			say(rule.Location, "%s in a test would count in the test only", name)
		}
	}
}

// checkRule refuses an entry point that is not a set: a deny that is true, or a string, would deny nothing.
func checkRule(rule *ast.Rule, say func(*ast.Location, string, ...any)) {
	name := ruleName(rule)
	if !slices.Contains(entryPoints[:], name) {
		return
	}
	h := rule.Head
	if rule.Default || h.RuleKind() != ast.MultiValue || len(h.Ref()) != 1 || len(h.Args) > 0 || rule.Else != nil {
		say(rule.Location, `%s has to be a set: write "%s contains {"code": …, "text": …} if …"`, name, name)
	}
}

func ruleName(r *ast.Rule) string {
	ref := r.Head.Ref()
	if len(ref) == 0 {
		return ""
	}
	if v, ok := ref[0].Value.(ast.Var); ok {
		return string(v)
	}
	return ref[0].String()
}

// packagePath returns the path below data.
func packagePath(p *ast.Package) []string {
	var path []string
	for _, term := range p.Path[min(1, len(p.Path)):] {
		if s, ok := term.Value.(ast.String); ok {
			path = append(path, string(s))
		} else {
			path = append(path, term.String())
		}
	}
	return path
}

// eagerInput reports whether some rule replaces a part of the input ("with input.request.body as …"). The evaluator
// copies the input for that, but a lazy object is not copied: the change would stay, for every other rule to see.
func eagerInput(c *ast.Compiler) bool {
	found := false
	for _, m := range c.Modules {
		ast.WalkWiths(m, func(w *ast.With) bool {
			ref, ok := w.Target.Value.(ast.Ref)
			found = found || ok && ref.HasPrefix(ast.InputRootRef) && len(ref) > 1
			return found
		})
	}
	return found
}
