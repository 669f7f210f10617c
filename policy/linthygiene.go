package policy

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"
)

// hygiene looks at how a file is written.
func (l *linter) hygiene(f *lintFile) {
	want, err := format.SourceWithOpts(f.file, f.body, format.Opts{RegoVersion: ast.RegoV1})
	if err == nil && !bytes.Equal(want, f.body) {
		l.say(ast.NewLocation(nil, f.file, firstDifference(f.body, want), 1), "format", "Not as opa fmt writes it: run opa fmt -w.")
	}
	for _, imp := range f.module.Imports {
		if ref, ok := imp.Path.Value.(ast.Ref); ok && len(ref) > 0 && ref[0].Value.Compare(ast.Var("future")) == 0 {
			l.say(imp.Location, "unused", "Rego v1 needs no %s: take the import out.", ref)
		}
	}
	calls(f.module, func(op string, args []*ast.Term, at *ast.Location) {
		if op == "print" && !f.test() {
			l.say(at, "print", "print does nothing in the sidecar: take it out.")
		}
		if !comparesText(op) || f.test() {
			return
		}
		for _, a := range args {
			switch path := f.fieldOf(a); path {
			case "input.context.time", "input.evidence.started_at", "input.evidence.approved_at":
				l.say(at, "time", "%s is compared as text, in UTC and with or without fractions: use time.parse_rfc3339_ns(%s).", path, path)
				return
			}
		}
	})
}

func comparesText(op string) bool {
	return matches(op) || slices.Contains([]string{
		opEqual, opUnify, opUnequal, opIn, "lt", "lte", "gt", "gte", "startswith", "endswith", "contains", "substring", "split", "indexof",
	}, op)
}

func firstDifference(a, b []byte) int {
	line := 1
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return line
		}
		if a[i] == '\n' {
			line++
		}
	}
	return line
}

// exemptions looks for what exempt rules, and the helpers they call, cannot see. The compiler knows who calls whom.
func (l *linter) exemptions() {
	if l.compiled == nil || l.own {
		return
	}
	for _, rule := range l.compiledRules("exempt") {
		seen := map[*ast.Rule]bool{}
		todo := []*ast.Rule{rule}
		for len(todo) > 0 {
			r := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[r] || r.Location == nil || !l.customers(r.Location.File) {
				continue
			}
			seen[r] = true
			l.exemptReads(rule, r)
			for dep := range l.compiled.Graph.Dependencies(r) {
				if next, ok := dep.(*ast.Rule); ok {
					todo = append(todo, next)
				}
			}
		}
	}
}

func (l *linter) customers(file string) bool {
	return slices.ContainsFunc(l.files, func(f *lintFile) bool { return f.file == file })
}

func (l *linter) exemptReads(exempt, r *ast.Rule) {
	ast.WalkExprs(r, func(e *ast.Expr) bool {
		ast.WalkRefs(e, func(ref ast.Ref) bool {
			path := strings.Join(pathOf(ref), ".")
			hidden := path == "input.subject.ticket" || path == "input.subject.requester.claims.ticket"
			for _, part := range []string{"input.request", "input.evidence"} {
				hidden = hidden || path == part || strings.HasPrefix(path, part+".")
			}
			if !hidden {
				return false
			}
			at := placeIn(ref)
			if at == nil {
				at = e.Location
			}
			if r == exempt {
				l.say(at, "exempt-input", "An exempt rule does not see %s, and so lifts nothing: go by operation, attested subject and context.", path)
			} else {
				l.say(at, "exempt-input", "The exempt rule at %s comes to this, and does not see %s: go by operation, attested subject and context.", location(exempt.Location), path)
			}
			return false
		})
		return false
	})
}

// exercise is what one file of tests is about.
type exercise struct {
	*lintFile
	asks  map[string]bool // entry points, or "decision" for all of them
	words map[string]bool // strings in it: codes, perhaps
}

// tests looks for rules that no test is about: none in a file beside theirs, and none elsewhere that names their code.
func (l *linter) tests() {
	if l.own {
		return
	}
	var tests []exercise
	rules := map[string]int{} // files with rules, by folder
	for _, f := range l.files {
		if f.test() {
			tests = append(tests, exerciseOf(f))
		} else {
			rules[filepath.Dir(f.file)]++
		}
	}
	for _, f := range l.files {
		if f.test() || !f.inRules() {
			continue
		}
		for _, r := range f.module.Rules {
			name := ruleName(r)
			if !slices.Contains(entryPoints[:], name) {
				continue
			}
			alone := rules[filepath.Dir(f.file)] == 1
			if !slices.ContainsFunc(tests, func(t exercise) bool { return t.about(f, name, codeOf(r), alone) }) {
				l.say(r.Location, "untested", "No test is about this %s: write one in %s.", name, strings.TrimSuffix(filepath.Base(f.file), ".rego")+testSuffix)
			}
		}
	}
}

func (t exercise) about(f *lintFile, name, code string, alone bool) bool {
	if !t.asks[name] && !t.asks["decision"] {
		return false
	}
	beside := strings.TrimSuffix(f.file, ".rego")+testSuffix == t.file
	return beside || alone && filepath.Dir(f.file) == filepath.Dir(t.file) || code != "" && t.words[code]
}

func exerciseOf(f *lintFile) exercise {
	t := exercise{f, map[string]bool{}, map[string]bool{}}
	ask := func(ref ast.Ref) {
		path := pathOf(f.full(ref))
		switch {
		case len(path) > 2 && path[0] == "data" && path[1] == "countersign" && path[2] == "decision":
			t.asks["decision"] = true
		case len(path) > 3 && path[0] == "data" && path[1] == "countersign" && path[2] == "rules":
			t.asks[path[3]] = true
		case f.inRules() && len(path) > 0:
			t.asks[path[0]] = true
		}
	}
	for _, r := range f.module.Rules {
		ast.WalkRefs(r, func(ref ast.Ref) bool { ask(ref); return false })
		ast.WalkVars(r, func(v ast.Var) bool { ask(ast.Ref{ast.NewTerm(v)}); return false })
		ast.WalkTerms(r, func(x *ast.Term) bool {
			if s, ok := x.Value.(ast.String); ok {
				t.words[string(s)] = true
			}
			return false
		})
	}
	return t
}
