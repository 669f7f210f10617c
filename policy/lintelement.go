package policy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// snake is what a code looks like.
var snake = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// slips are names that somebody may take for an entry point, though they are not near one.
var slips = [...]string{"allow", "permit", "require", "exemption", "exemptions", "exempted", "stepup", "requires", "denied", "denies", "denial", "block"}

// inRules reports whether a file is in the package that the built-in policy asks.
func (f *lintFile) inRules() bool { return slices.Equal(f.pkg, []string{"countersign", "rules"}) }

// elements looks at what the entry points hold, and for rules that were meant to be one.
func (l *linter) elements(f *lintFile) {
	if l.own {
		return
	}
	for _, rule := range f.module.Rules {
		name := ruleName(rule)
		if f.inRules() && slices.Contains(entryPoints[:], name) {
			if rule.Head.Key != nil {
				l.element(f, rule, name)
			}
			continue
		}
		below := len(f.pkg) >= 2 && f.pkg[0] == "countersign" && f.pkg[1] == "rules"
		if !below || strings.HasPrefix(name, "test_") || l.used(f, rule) {
			continue
		}
		if near := entryNear(name); near != "" && f.inRules() {
			l.say(rule.Location, "misspelt", "Nobody asks for %s: %s", name, near)
		} else {
			l.say(rule.Location, "unused", "No rule uses %s: take it out.", name)
		}
	}
}

func entryNear(name string) string {
	if name == "allow" || name == "permit" {
		return "what the floor holds is lifted by exempt, and a denial by nothing."
	}
	for _, e := range entryPoints {
		if distance(name, e) <= 2 {
			return "did you mean " + e + "?"
		}
	}
	if slices.Contains(slips[:], name) {
		return "the rules that count are deny, step_up, requirement and exempt."
	}
	return ""
}

// used reports whether another rule refers to this one.
func (l *linter) used(f *lintFile, rule *ast.Rule) bool {
	want := slices.Concat([]string{"data"}, f.pkg, []string{ruleName(rule)})
	for _, other := range l.files {
		if other.test() {
			continue
		}
		for _, r := range other.module.Rules {
			if other == f && ruleName(r) == ruleName(rule) {
				continue
			}
			found := false
			ast.WalkRefs(r, func(ref ast.Ref) bool {
				got := pathOf(other.full(ref))
				n := min(len(got), len(want))
				found = found || n > 1 && slices.Equal(got[:n], want[:n])
				return found
			})
			ast.WalkVars(r, func(v ast.Var) bool {
				found = found || other == f && string(v) == ruleName(rule) || slices.Equal(pathOf(other.full(ast.Ref{ast.NewTerm(v)})), want)
				return found
			})
			if found {
				return true
			}
		}
	}
	return false
}

// element checks what one rule adds to deny, step_up, requirement or exempt.
func (l *linter) element(f *lintFile, rule *ast.Rule, name string) {
	v, at := l.resolved(f, rule, rule.Head.Key), rule.Head.Key.Location
	switch v := v.(type) {
	case ast.Object:
		if name == "requirement" {
			l.requirement(f, rule, v, at)
		} else {
			l.reason(f, rule, name, v, at)
		}
	case ast.String, ast.Number, ast.Boolean, ast.Null, *ast.Array, ast.Set:
		want := `{"code": …, "text": …}`
		if name == "requirement" {
			want = `{"providers": […]}`
		}
		l.say(at, "element", "An element of %s is an object: write %s.", name, want)
	}
}

// resolved follows a variable to what the body assigns to it, and a name to a rule without conditions.
func (l *linter) resolved(f *lintFile, rule *ast.Rule, t *ast.Term) ast.Value {
	for range 5 {
		v, ok := t.Value.(ast.Var)
		if !ok {
			break
		}
		var next *ast.Term
		for _, e := range rule.Body {
			if e.IsAssignment() && e.Operand(0) != nil && e.Operand(0).Value.Compare(v) == 0 {
				next = e.Operand(1)
			}
		}
		if next == nil {
			break
		}
		t = next
	}
	return l.constant(f, t)
}

func (l *linter) reason(f *lintFile, rule *ast.Rule, name string, o ast.Object, at *ast.Location) {
	allowed := []string{"code", "text"}
	if name == "step_up" {
		allowed = append(allowed, "requirement")
	}
	l.keys(o, name, allowed)
	if code := o.Get(ast.StringTerm("code")); code != nil {
		l.code(f, rule, name, code)
	} else {
		l.say(at, "element", "An element of %s has no code.", name)
	}
	noText := "text"
	if name == "exempt" {
		noText = "exempt-reason"
	}
	switch text := o.Get(ast.StringTerm("text")); {
	case text == nil && name == "exempt":
		l.say(at, noText, "The exemption gives no reason: add text, which the journal keeps.")
	case text == nil:
		l.say(at, "element", "An element of %s has no text: say what the employee is to do.", name)
	default:
		v := l.resolved(f, rule, text)
		if s, isText := v.(ast.String); isText && strings.TrimSpace(string(s)) == "" {
			l.say(text.Location, noText, "The text is empty: %s", map[bool]string{true: "say why the exemption is right.", false: "say what the employee is to do."}[name == "exempt"])
		} else if !isText && isScalarOrCollection(v) {
			l.say(text.Location, "element", "The text of %s is a string.", name)
		}
	}
	if r := o.Get(ast.StringTerm("requirement")); r != nil && name == "step_up" {
		switch v := l.resolved(f, rule, r).(type) {
		case ast.Object:
			l.requirement(f, rule, v, r.Location)
		case ast.String, ast.Number, ast.Boolean, ast.Null, *ast.Array, ast.Set:
			l.say(r.Location, "element", `The requirement of a step_up is an object: write {"providers": […]}.`)
		}
	}
}

func (l *linter) code(f *lintFile, rule *ast.Rule, name string, code *ast.Term) {
	v := l.resolved(f, rule, code)
	s, isText := v.(ast.String)
	switch {
	case isText && strings.TrimSpace(string(s)) == "":
		l.say(code.Location, "element", "An element of %s has an empty code.", name)
	case isText && !snake.MatchString(string(s)):
		l.say(code.Location, "code", "The code %q is no snake_case: write after_hours, say.", string(s))
	case !isText && isScalarOrCollection(v):
		l.say(code.Location, "element", "The code of %s is a string.", name)
	}
}

// requirement checks a part of what a hold asks for.
func (l *linter) requirement(f *lintFile, rule *ast.Rule, o ast.Object, at *ast.Location) {
	l.keys(o, "requirement", []string{"providers", "capabilities", "amr", "approver", "prefer"})
	if o.Len() == 0 {
		l.say(at, "element", "A requirement that asks for nothing: name providers, capabilities or amr.")
	}
	o.Foreach(func(k, t *ast.Term) {
		key, _ := k.Value.(ast.String)
		v := l.resolved(f, rule, t)
		switch string(key) {
		case "approver":
			if s, ok := v.(ast.String); isScalarOrCollection(v) && (!ok || s != "requester") {
				l.say(t.Location, "element", `The approver is "requester", always.`)
			}
		case "providers", "capabilities", "amr", "prefer":
			l.list(string(key), v, t.Location)
		}
	})
}

func (l *linter) list(key string, v ast.Value, at *ast.Location) {
	var size int
	switch v := v.(type) {
	case *ast.Array:
		size = v.Len()
	case ast.Set:
		size = v.Len()
	default:
		if isScalarOrCollection(v) {
			l.say(at, "element", "%s is a list: write [%q].", key, "…")
		}
		return
	}
	if size == 0 {
		l.say(at, "element", "%s is empty and asks for nothing.", key)
	}
	for _, s := range stringsOf(v) {
		switch {
		case strings.TrimSpace(s) == "":
			l.say(at, "element", "%s has an empty name in it.", key)
		case key == "capabilities" || key == "prefer":
			if words := []string{"text", "number_match", "phishing_resistant"}; !slices.Contains(words, s) {
				l.say(at, "capability", "No provider has the capability %q.%s", s, meant(s, words))
			}
		case key == "providers" && len(l.known.Providers) > 0 && !slices.Contains(l.known.Providers, s):
			l.say(at, "unknown-name", "The configuration has no provider %q.%s", s, meant(s, l.known.Providers))
		}
	}
}

func (l *linter) keys(o ast.Object, name string, allowed []string) {
	o.Foreach(func(k, _ *ast.Term) {
		if s, ok := k.Value.(ast.String); ok && !slices.Contains(allowed, string(s)) {
			l.say(k.Location, "element", "An element of %s has no %q: it has %s.%s", name, string(s), strings.Join(allowed, ", "), meant(string(s), allowed))
		}
	})
}

// isScalarOrCollection tells a value that is written down from one that is worked out.
func isScalarOrCollection(v ast.Value) bool {
	switch v.(type) {
	case ast.String, ast.Number, ast.Boolean, ast.Null, *ast.Array, ast.Set, ast.Object:
		return true
	default:
		return false
	}
}
