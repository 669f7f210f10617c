package policy

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// From here on a shape is worth a word: below, what it costs is lost in the rest of a decision.
const (
	linearRules = 8  // rules of one name that match patterns
	largeTable  = 64 // elements that are searched one by one
)

// matches reports whether a call matches a pattern: its cost is paid at every call, once for each rule.
func matches(op string) bool { return strings.HasPrefix(op, "regex.") || op == "glob.match" }

// costs looks for matching of paths and searching of tables.
func (l *linter) costs(f *lintFile) {
	calls(f.module, func(op string, args []*ast.Term, at *ast.Location) {
		if !matches(op) && op != "startswith" && op != "endswith" && op != "contains" {
			return
		}
		for _, a := range args {
			if f.onPath(a) {
				l.say(at, "path-match", "%s on a path: compare input.operation.name, or input.request.segments one by one, with ==.", op)
				return
			}
		}
	})
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.SomeDecl:
			for _, s := range x.Symbols {
				if c, ok := s.Value.(ast.Call); ok && len(c) > 0 {
					l.table(f, c[len(c)-1], x.Location)
				}
			}
		case *ast.Every:
			l.table(f, x.Domain, x.Location)
		case *ast.Expr:
			if calledOp(x) == opIn {
				if a, ok := l.constant(f, x.Operand(1)).(*ast.Array); ok && a.Len() >= largeTable {
					l.say(x.Location, "table", "in goes through the %d elements of a list: make it a set, {…}, or an object.", a.Len())
				}
			}
		case ast.Ref:
			for i, t := range x[1:] {
				if v, ok := t.Value.(ast.Var); ok && v.IsWildcard() {
					l.table(f, ast.NewTerm(x[:i+1]), placeIn(x))
					break
				}
			}
		}
		return false
	}).Walk(f.module)
}

// onPath reports whether a term is the path of the request or made of its segments.
func (f *lintFile) onPath(t *ast.Term) bool {
	found := f.fieldOf(t) == "input.request.path"
	ast.WalkTerms(t, func(t *ast.Term) bool {
		path := f.fieldOf(t)
		found = found || path == "input.request.path" || path == "input.request.segments"
		return found
	})
	return found
}

// table tells of a large one that is gone through.
func (l *linter) table(f *lintFile, t *ast.Term, at *ast.Location) {
	n := 0
	switch v := l.constant(f, t).(type) {
	case *ast.Array:
		n = v.Len()
	case ast.Set:
		n = v.Len()
	case ast.Object:
		n = v.Len()
	}
	if n >= largeTable {
		l.say(at, "table", "This goes through %d elements at every call: make the table an object and look the key up.", n)
	}
}

// linear looks for many rules of one name that each match a pattern: OPA's index cannot tell which of them to try.
func (l *linter) linear() {
	type group struct {
		first *ast.Location
		n     int
	}
	groups := map[string]*group{}
	for _, f := range l.files {
		if f.test() {
			continue
		}
		for _, r := range f.module.Rules {
			costly := false
			calls(r.Body, func(op string, args []*ast.Term, _ *ast.Location) {
				costly = costly || matches(op) && !literalGlob(op, args)
			})
			if !costly {
				continue
			}
			key := fmt.Sprintf("%s.%s", strings.Join(f.pkg, "."), ruleName(r))
			if groups[key] == nil {
				groups[key] = &group{first: r.Location}
			}
			groups[key].n++
		}
	}
	for name, g := range groups {
		if g.n >= linearRules {
			l.say(g.first, "linear", "%d rules %s match a pattern each, and every call tries them all: put a comparison of input.operation.name with == first.", g.n, name)
		}
	}
}

// literalGlob reports whether OPA's index takes the rule in.
func literalGlob(op string, args []*ast.Term) bool {
	if op != "glob.match" || len(args) == 0 {
		return false
	}
	_, ok := args[0].Value.(ast.String)
	return ok
}
