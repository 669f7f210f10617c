package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Operators of comparisons, as OPA names them.
const (
	opEqual, opUnify, opUnequal, opIn = "equal", "eq", "neq", "internal.member_2"
)

// calls visits every call below x, with the name of what is called.
func calls(x any, visit func(op string, args []*ast.Term, at *ast.Location)) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.Expr:
			if terms, ok := x.Terms.([]*ast.Term); ok && len(terms) > 0 {
				visit(terms[0].String(), terms[1:], x.Location)
			}
		case *ast.Term:
			if c, ok := x.Value.(ast.Call); ok && len(c) > 0 {
				visit(c[0].String(), c[1:], x.Location)
			}
		}
		return false
	}).Walk(x)
}

// fieldOf is the path of the input that a term is, "" for anything else.
func (f *lintFile) fieldOf(t *ast.Term) string {
	ref, ok := t.Value.(ast.Ref)
	if !ok {
		return ""
	}
	long := f.full(ref)
	if !long.HasPrefix(ast.InputRootRef) {
		return ""
	}
	path := pathOf(long)
	if len(path) != len(long) {
		return ""
	}
	return strings.Join(path, ".")
}

// vocabulary lists the values that a field can have; nil when that is not known.
func (l *linter) vocabulary(field string) []string {
	switch field {
	case "input.operation.category":
		return []string{"credential_reset", "admin_privilege", "permission_grant", "account_creation", "security_config", "read", "ordinary_write"}
	case "input.operation.catalog":
		return []string{"listed", "unlisted", "none"}
	case "input.operation.api":
		return l.known.APIs
	case "input.operation.name", "input.operation.also":
		return l.known.Operations
	case "input.subject.requester.assurance":
		return []string{"attested", "asserted", "none"}
	case "input.request.method":
		return []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "MERGE", "TRACE"}
	case "input.evidence.provider":
		return l.known.Providers
	default:
		return nil
	}
}

// names looks for values that are compared with a field and that it never has.
func (l *linter) names(f *lintFile) {
	calls(f.module, func(op string, args []*ast.Term, at *ast.Location) {
		if len(args) != 2 {
			return
		}
		a, b := args[0], args[1]
		switch op {
		case opEqual, opUnify, opUnequal:
			l.name(f, a, b, at)
			l.name(f, b, a, at)
		case opIn:
			l.name(f, a, b, at)
			if f.fieldOf(b) == "input.operation.also" {
				l.name(f, b, a, at)
			}
		case "startswith":
			l.partOf(f, a, b, at, strings.HasPrefix)
		case "endswith":
			l.partOf(f, a, b, at, strings.HasSuffix)
		case "contains":
			l.partOf(f, a, b, at, strings.Contains)
		}
	})
}

func (l *linter) name(f *lintFile, field, value *ast.Term, at *ast.Location) {
	path := f.fieldOf(field)
	known := l.vocabulary(path)
	if len(known) == 0 {
		return
	}
	for _, s := range stringsOf(l.constant(f, value)) {
		if s != "" && !slices.Contains(known, s) {
			l.say(at, "unknown-name", "%s is never %q.%s", path, s, meant(s, known))
		}
	}
}

func (l *linter) partOf(f *lintFile, field, value *ast.Term, at *ast.Location, fits func(s, part string) bool) {
	path := f.fieldOf(field)
	part, ok := l.constant(f, value).(ast.String)
	if known := l.vocabulary(path); ok && len(known) > 0 && !slices.ContainsFunc(known, func(s string) bool { return fits(s, string(part)) }) {
		l.say(at, "unknown-name", "%s has nothing like %q in it.", path, string(part))
	}
}

// stringsOf are the strings that a value is or, where it is a list or a set, holds.
func stringsOf(v ast.Value) (out []string) {
	take := func(t *ast.Term) {
		if s, ok := t.Value.(ast.String); ok {
			out = append(out, string(s))
		}
	}
	switch v := v.(type) {
	case ast.String:
		out = append(out, string(v))
	case *ast.Array:
		v.Foreach(take)
	case ast.Set:
		v.Foreach(take)
	}
	return out
}

// people looks for names of people that are compared with their case. The directory has none: Bob@Contoso.com is
// bob@contoso.com.
func (l *linter) people(f *lintFile) {
	calls(f.module, func(op string, args []*ast.Term, at *ast.Location) {
		if len(args) != 2 {
			return
		}
		switch op {
		case opEqual, opUnify, opUnequal:
			l.person(f, args[0], args[1], at)
			l.person(f, args[1], args[0], at)
		case opIn, "startswith", "endswith", "contains":
			l.person(f, args[0], args[1], at)
		}
	})
}

func (l *linter) person(f *lintFile, who, other *ast.Term, at *ast.Location) {
	path := f.fieldOf(who)
	folded := path == "input.subject.requester.id" || isCall(who, "lower")
	cased := path == "input.operation.resource.id" || strings.HasPrefix(path, "input.operation.params.")
	for _, claim := range []string{"upn", "email", "preferred_username", "sub"} {
		cased = cased || path == "input.subject.requester.claims."+claim
	}
	values := stringsOf(l.constant(f, other))
	named := slices.ContainsFunc(values, func(s string) bool { return strings.Contains(s, "@") })
	switch {
	case cased && (named || f.fieldOf(other) == "input.subject.requester.id" || isCall(other, "lower")):
		l.say(at, "upn-case", "%s comes as the agent wrote it: write lower(%s).", path, path)
	case folded && (named || path == "") && slices.ContainsFunc(values, func(s string) bool { return s != strings.ToLower(s) }):
		l.say(at, "upn-case", "This is lower case and never the same as what has capitals: write the name in lower case.")
	}
}

func isCall(t *ast.Term, op string) bool {
	c, ok := t.Value.(ast.Call)
	return ok && len(c) > 0 && c[0].String() == op
}
