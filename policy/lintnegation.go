package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A builtin or function that is given what is missing has no value, and OPA works its arguments out before the "not": the
// whole rule is undefined then, not the negation true. In a deny rule that lets a call pass. Which way a helper opens
// depends on who asks it: "deny if named" or "deny if not named".

// polarity says how a rule takes part: closing when calls are refused or held because it is true, opening when they pass.
type polarity uint8

const (
	closing polarity = 1 << iota
	opening
)

// sides works out for every rule how the entry points use it, directly and through helpers.
func (l *linter) sides() map[*ast.Rule]polarity {
	type step struct {
		rule *ast.Rule
		file *lintFile
		side polarity
	}
	out := map[*ast.Rule]polarity{}
	var todo []step
	for _, f := range l.files {
		for _, r := range f.module.Rules {
			if name := ruleName(r); f.inRules() && !f.test() && slices.Contains(entryPoints[:], name) {
				side := closing
				if name == "exempt" {
					side = opening
				}
				todo = append(todo, step{r, f, side})
			}
		}
	}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if out[s.rule]&s.side != 0 {
			continue
		}
		out[s.rule] |= s.side
		helpers(s.rule, func(t ast.Ref, negated bool) {
			side := s.side
			if negated {
				side = (closing | opening) &^ s.side
			}
			for _, f := range l.files {
				for _, r := range l.rulesIn(f, pathOf(s.file.full(t))) {
					todo = append(todo, step{r, f, side})
				}
			}
		})
	}
	return out
}

// helpers visits every reference of a rule, variables included, and says whether it stands in a negation.
func helpers(rule *ast.Rule, visit func(ref ast.Ref, negated bool)) {
	var walk func(x any, negated bool)
	walk = func(x any, negated bool) {
		ast.NewGenericVisitor(func(x any) bool {
			switch x := x.(type) {
			case *ast.Expr:
				if x.Negated && !negated {
					walk(x.ComplementNoWith(), true)
					return true
				}
			case ast.Ref:
				visit(x, negated)
			case ast.Var:
				visit(ast.Ref{ast.NewTerm(x)}, negated)
			}
			return false
		}).Walk(x)
	}
	walk(rule.Body, false)
	if rule.Head.Key != nil {
		walk(rule.Head.Key, false)
	}
	if rule.Head.Value != nil {
		walk(rule.Head.Value, false)
	}
	for e := rule.Else; e != nil; e = e.Else {
		walk(e.Body, false)
	}
}

// rulesIn returns the rules of one file that a path leads to.
func (l *linter) rulesIn(f *lintFile, path []string) (out []*ast.Rule) {
	if len(path) < len(f.pkg)+2 || path[0] != "data" || !slices.Equal(path[1:len(f.pkg)+1], f.pkg) {
		return nil
	}
	for _, r := range f.module.Rules {
		if ruleName(r) == path[len(f.pkg)+1] {
			out = append(out, r)
		}
	}
	return out
}

// negations looks for negations and inequalities that come out the wrong way where something is missing.
func (l *linter) negations(f *lintFile) {
	sides := l.sides()
	schema := inputSchema()
	for _, rule := range f.module.Rules {
		side := sides[rule]
		if side == 0 {
			continue
		}
		ast.WalkBodies(rule, func(b ast.Body) bool {
			for _, e := range b {
				switch {
				case e.Negated:
					l.negation(f, b, e, side, schema)
				case side&closing != 0 && calledOp(e) == opUnequal:
					l.unequal(f, b, e, schema)
				}
			}
			return false
		})
	}
}

func calledOp(e *ast.Expr) string {
	if terms, ok := e.Terms.([]*ast.Term); ok && len(terms) > 0 {
		return terms[0].String()
	}
	return ""
}

func (l *linter) negation(f *lintFile, b ast.Body, e *ast.Expr, side polarity, schema any) {
	op := calledOp(e)
	equality := op == opEqual || op == opUnify
	var early, late []ast.Ref // worked out before the negation, and within it
	for _, t := range operands(e) {
		if equality || op == "" {
			switch v := t.Value.(type) {
			case ast.Ref:
				late = append(late, v)
				for _, part := range v[1:] { // brackets are worked out before
					early = append(early, refsOf(part)...)
				}
				continue
			case ast.Var:
				late = append(late, ast.Ref{t})
				continue
			}
		}
		early = append(early, refsOf(t)...)
	}
	if side&closing != 0 {
		for _, ref := range early {
			if what := l.missing(f, ref, schema); what != "" && !guarded(b, e, ref) {
				l.say(e.Location, "negated-undefined", "Without %s this rule does not fire: write a helper that is true where %s, and negate that.", what, oneLine(e.ComplementNoWith().Location))
				return
			}
		}
	}
	if side&opening != 0 && equality {
		for _, ref := range late {
			if what := l.missing(f, ref, schema); what != "" && !guarded(b, e, ref) {
				l.say(e.Location, "negated-opens", "This is true without %s, and lets the call pass: ask for what must be there.", what)
				return
			}
		}
	}
}

// refsOf are the references in a term, variables included: they may be rules.
func refsOf(t *ast.Term) (out []ast.Ref) {
	ast.WalkTerms(t, func(t *ast.Term) bool {
		switch v := t.Value.(type) {
		case ast.Ref:
			out = append(out, v)
		case ast.Var:
			out = append(out, ast.Ref{t})
		}
		return false
	})
	return out
}

func operands(e *ast.Expr) []*ast.Term {
	switch terms := e.Terms.(type) {
	case []*ast.Term:
		return terms[min(1, len(terms)):]
	case *ast.Term:
		if c, ok := terms.Value.(ast.Call); ok && len(c) > 0 {
			return c[1:]
		}
		return []*ast.Term{terms}
	default:
		return nil
	}
}

func (l *linter) unequal(f *lintFile, b ast.Body, e *ast.Expr, schema any) {
	for _, t := range operands(e) {
		ref, ok := t.Value.(ast.Ref)
		if !ok {
			continue
		}
		if what := l.missing(f, ref, schema); what != "" && !guarded(b, e, ref) {
			l.say(e.Location, "missing-unequal", "Without %s this rule does not fire: make == a helper, and negate that.", what)
			return
		}
	}
}

// missing names what a reference is to, if there may be no such thing; "" otherwise.
func (l *linter) missing(f *lintFile, ref ast.Ref, schema any) string {
	long := f.full(ref)
	switch {
	case long.HasPrefix(ast.InputRootRef):
		if mayMiss(long, schema) {
			return long.String()
		}
	case long.HasPrefix(ast.DefaultRootRef):
		path := pathOf(long)
		for _, other := range l.files {
			rules := l.rulesIn(other, path)
			if len(rules) > 0 && l.mayBeUndefined(other, rules, schema) {
				return strings.Join(path[1:], ".")
			}
		}
		if len(path) < len(long) { // data.acme.tenants[input.subject.requester.tid]
			if _, known := at(l.data, path[1:]); known {
				return long.String()
			}
		}
	}
	return ""
}

// mayBeUndefined reports whether rules of one name can have no value.
func (l *linter) mayBeUndefined(f *lintFile, rules []*ast.Rule, schema any) bool {
	for _, r := range rules {
		if r.Default || r.Head.RuleKind() == ast.MultiValue || len(r.Head.Args) > 0 || len(r.Head.Ref()) > 1 {
			return false
		}
		if !unconditional(r) {
			continue
		}
		misses := false
		ast.WalkRefs(r.Head.Value, func(ref ast.Ref) bool {
			long := f.full(ref)
			misses = misses || long.HasPrefix(ast.InputRootRef) && mayMiss(long, schema)
			return misses
		})
		if !misses {
			return false
		}
	}
	return true
}

// guarded reports whether another expression of the body asks for the same thing: then the author knows that the rule
// is about calls that have it.
func guarded(b ast.Body, e *ast.Expr, ref ast.Ref) bool {
	for _, other := range b {
		if other == e || other.Negated {
			continue
		}
		found := false
		ast.WalkTerms(other, func(t *ast.Term) bool {
			r, ok := t.Value.(ast.Ref)
			if !ok {
				r = ast.Ref{t}
			}
			found = found || r.Equal(ref)
			return found
		})
		if found {
			return true
		}
	}
	return false
}
