package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// load reads, parses and compiles, and returns how many files it looks at.
func (l *linter) load(ctx context.Context, o LintOptions) (int, error) {
	var base, custom []source
	var settings map[string]any
	var err error
	if l.own = len(o.Paths) == 0; l.own {
		custom, err = readOwn(o.Base)
	} else {
		base, custom, settings, err = o.read()
	}
	if err != nil {
		return 0, err
	}
	if o.Testing != nil && !l.own {
		lib := collector{fsys: o.Testing}
		if err := lib.walk(".", 0); err != nil {
			return 0, fmt.Errorf("policy: testing library: %w", err)
		}
		base = append(base, lib.found...)
	}
	caps := capabilities()
	modules := map[string]*ast.Module{}
	for _, s := range base {
		m, err := ast.ParseModuleWithOpts(s.file, string(s.body), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
		if err != nil {
			return 0, fmt.Errorf("policy: built-in policy: %w", err)
		}
		modules[builtIn+s.name] = m
	}
	whole := true
	for _, s := range custom {
		if s.module() {
			whole = l.parse(s, caps) && whole
		}
	}
	whole = l.readData(custom, settings) && whole
	if whole { // of a part the compiler tells what is not so
		for _, f := range l.files {
			modules[f.name] = f.module.Copy()
		}
		l.compile(ctx, modules, caps)
	}
	return len(custom), nil
}

// readOwn reads the built-in policy and its tests.
func readOwn(fsys fs.FS) ([]source, error) {
	if fsys == nil {
		return nil, errors.New("policy: no built-in policy")
	}
	c := collector{fsys: fsys, tests: true}
	if err := c.walk(".", 0); err != nil {
		return nil, fmt.Errorf("policy: built-in policy: %w", err)
	}
	return slices.DeleteFunc(c.found, func(s source) bool { return !s.module() }), nil
}

// parse adds a module, and reports whether the sidecar would take it.
func (l *linter) parse(s source, caps *ast.Capabilities) bool {
	m, err := ast.ParseModuleWithOpts(s.file, string(s.body), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
	start := ast.NewLocation(nil, s.file, 1, 1)
	if err == nil && m == nil {
		l.say(start, "parse", "The file is empty.")
		return false
	}
	if err != nil {
		if old, oldErr := ast.ParseModuleWithOpts(s.file, string(s.body), ast.ParserOptions{RegoVersion: ast.RegoV0}); oldErr == nil && old != nil {
			l.say(old.Package.Location, "v0", "Rego v0: let opa fmt --v0-v1 rewrite the file.")
			return false
		}
		l.failed(err, start, "parse")
		return false
	}
	f := &lintFile{source: s, module: m, pkg: packagePath(m.Package), aliases: aliasesOf(m)}
	f.ignores = l.ignoresOf(f)
	l.files = append(l.files, f)
	if l.own {
		return true
	}
	ours := true
	say := func(at *ast.Location, format string, args ...any) {
		ours = false
		l.say(at, "reserved", format, args...)
	}
	if s.test() {
		inspectTest(m, say)
	} else {
		inspectModule(m, say)
	}
	return ours
}

// readData puts the data documents together and says what is wrong with each.
func (l *linter) readData(custom []source, settings map[string]any) bool {
	l.data = map[string]any{}
	good := true
	for _, s := range custom {
		if s.module() {
			continue
		}
		doc, err := parseData(s)
		if err == nil {
			err = ownData(doc)
		}
		if err == nil {
			err = merge(l.data, doc, "")
		}
		if err != nil {
			l.say(ast.NewLocation(nil, s.file, 1, 1), "data", "%v", err)
			good = false
		}
	}
	if _, err := assertedFor(l.data); err != nil && good {
		i := slices.IndexFunc(custom, func(s source) bool { return !s.module() })
		l.say(ast.NewLocation(nil, custom[i].file, 1, 1), "data", "%v", err)
		good = false
	}
	if settings != nil && good {
		good = merge(l.data, map[string]any{"countersign": map[string]any{"settings": settings}}, "") == nil
	}
	return good
}

// compile compiles as the sidecar does, and then once more as strictly as OPA can.
func (l *linter) compile(ctx context.Context, modules map[string]*ast.Module, caps *ast.Capabilities) {
	store := inmem.NewFromObject(l.data)
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return // only a closed store refuses
	}
	defer store.Abort(ctx, txn)
	run := func(strict bool) *ast.Compiler {
		c := ast.NewCompiler().WithCapabilities(caps).WithDefaultRegoVersion(ast.RegoV1).WithStrict(strict).
			WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn)).SetErrorLimit(0)
		fresh := make(map[string]*ast.Module, len(modules))
		for name, m := range modules {
			fresh[name] = m.Copy()
		}
		c.Compile(fresh)
		return c
	}
	c := run(false)
	start := ast.NewLocation(nil, l.files0(), 1, 1)
	if c.Failed() {
		l.failed(c.Errors, start, "compile")
		return
	}
	l.compiled = c
	if c = run(true); c.Failed() {
		l.failed(c.Errors, start, "unused")
	}
}

func (l *linter) files0() string {
	if len(l.files) == 0 {
		return ""
	}
	return l.files[0].file
}

// failed makes findings of OPA's errors.
func (l *linter) failed(err error, start *ast.Location, id string) {
	errs, ok := errors.AsType[ast.Errors](err)
	if !ok {
		l.say(start, id, "%v", err)
		return
	}
	for _, e := range errs {
		at := e.Location
		if at == nil {
			at = start
		}
		l.say(at, id, "%s.", e.Message)
	}
}

// aliasesOf lists what names stand for: input.operation for op after "import input.operation as op".
func aliasesOf(m *ast.Module) map[ast.Var]ast.Ref {
	out := map[ast.Var]ast.Ref{}
	for _, imp := range m.Imports {
		ref, ok := imp.Path.Value.(ast.Ref)
		if ok && (ref.HasPrefix(ast.InputRootRef) || ref.HasPrefix(ast.DefaultRootRef)) {
			out[imp.Name()] = ref
		}
	}
	return out
}

// full writes a reference out: aliases of imports resolved, and rules of the same package by their path below data.
func (f *lintFile) full(ref ast.Ref) ast.Ref {
	head, ok := ref[0].Value.(ast.Var)
	if !ok {
		return ref
	}
	if long, ok := f.aliases[head]; ok {
		return slices.Concat(long, ref[1:])
	}
	if slices.ContainsFunc(f.module.Rules, func(r *ast.Rule) bool { return ruleName(r) == string(head) }) {
		return slices.Concat(f.module.Package.Path, ast.Ref{ast.StringTerm(string(head))}, ref[1:])
	}
	return ref
}

// pathOf is the constant beginning of a reference, head included: input, operation, name.
func pathOf(ref ast.Ref) []string {
	var out []string
	for i, t := range ref {
		switch v := t.Value.(type) {
		case ast.Var:
			if i > 0 {
				return out
			}
			out = append(out, string(v))
		case ast.String:
			out = append(out, string(v))
		default:
			return out
		}
	}
	return out
}

// rulesNamed returns the rules at a path below data, in any file.
func (l *linter) rulesNamed(path []string) (out []*ast.Rule) {
	for _, f := range l.files {
		if len(path) != len(f.pkg)+2 || path[0] != "data" || !slices.Equal(path[1:len(path)-1], f.pkg) {
			continue
		}
		for _, r := range f.module.Rules {
			if ruleName(r) == path[len(path)-1] {
				out = append(out, r)
			}
		}
	}
	return out
}

// constant returns what a term stands for where that is plain to see: itself, or the value of a rule without conditions.
func (l *linter) constant(f *lintFile, t *ast.Term) ast.Value {
	ref, ok := t.Value.(ast.Ref)
	if v, isVar := t.Value.(ast.Var); isVar {
		ref, ok = ast.Ref{ast.NewTerm(v)}, true
	}
	if !ok {
		return t.Value
	}
	path := pathOf(f.full(ref))
	if len(path) == len(f.full(ref)) {
		if rules := l.rulesNamed(path); len(rules) == 1 && unconditional(rules[0]) {
			return rules[0].Head.Value.Value
		}
		if v, ok := at(l.data, path[min(1, len(path)):]); ok && path[0] == "data" {
			if value, err := ast.InterfaceToValue(v); err == nil {
				return value
			}
		}
	}
	return t.Value
}

func unconditional(r *ast.Rule) bool {
	return r.Head.Value != nil && r.Head.Key == nil && len(r.Head.Args) == 0 && r.Else == nil && r.Body.Equal(ast.NewBody(ast.NewExpr(ast.BooleanTerm(true))))
}

func at(doc map[string]any, path []string) (any, bool) {
	var v any = doc
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[key]; !ok {
			return nil, false
		}
	}
	return v, len(path) > 0
}

// compiledRules returns the compiler's rules of an entry point, in the order of their files.
func (l *linter) compiledRules(name string) (out []*ast.Rule) {
	for _, file := range slices.Sorted(maps.Keys(l.compiled.Modules)) {
		m := l.compiled.Modules[file]
		if !slices.Equal(packagePath(m.Package), []string{"countersign", "rules"}) {
			continue
		}
		for _, r := range m.Rules {
			if ruleName(r) == name {
				out = append(out, r)
			}
		}
	}
	return out
}
