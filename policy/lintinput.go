package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// inputSchema is an input with every field that there may be: what is not in it does not exist. An empty map or nil has
// whatever the caller sent.
func inputSchema() map[string]any {
	return inputDoc(Input{
		Subject:   Subject{Requester: Requester{ObjectID: "x", TenantID: "x"}},
		Operation: Operation{Batch: &Batch{}},
		Evidence:  &Evidence{},
	})
}

// optional are the fields that an input need not have.
var optional = [...]string{"input.subject.requester.oid", "input.subject.requester.tid", "input.operation.batch", "input.evidence"}

// inputs looks for fields that the input does not have.
func (l *linter) inputs(f *lintFile) {
	schema := inputSchema()
	ast.WalkRefs(f.module, func(ref ast.Ref) bool {
		if long := f.full(ref); long.HasPrefix(ast.InputRootRef) {
			l.input(long, placeIn(ref), schema)
		}
		return false
	})
}

func placeIn(ref ast.Ref) *ast.Location {
	for _, t := range ref {
		if t.Location != nil && t.Location.Row > 0 {
			return t.Location
		}
	}
	return nil
}

// input follows a reference through the schema.
func (l *linter) input(ref ast.Ref, at *ast.Location, node any) {
	path := "input"
	for _, t := range ref[1:] {
		key, isName := t.Value.(ast.String)
		switch n := node.(type) {
		case map[string]any:
			if len(n) == 0 && path == "input.request.headers" && isName && string(key) != strings.ToLower(string(key)) {
				l.say(at, "unknown-input", "%s has names in lower case only: write %q.", path, strings.ToLower(string(key)))
			}
			if len(n) == 0 || !isName {
				return
			}
			next, ok := n[string(key)]
			if !ok {
				l.say(at, "unknown-input", "%s has no %q.%s", path, string(key), meant(string(key), keysOf(n)))
				return
			}
			node, path = next, path+"."+string(key)
		case []string:
			if isName {
				l.say(at, "unknown-input", "%s is a list and has no %q.", path, string(key))
			}
			return
		case nil, map[string]string:
			return
		default:
			l.say(at, "unknown-input", "%s is a %T and has no parts.", path, n)
			return
		}
	}
}

// mayMiss reports whether an input may be without what a reference is to.
func mayMiss(ref ast.Ref, schema any) bool {
	path := "input"
	for _, t := range ref[1:] {
		key, isName := t.Value.(ast.String)
		n, ok := schema.(map[string]any)
		if !ok || len(n) == 0 || !isName {
			return true
		}
		if path += "." + string(key); path != "input.evidence" && slices.Contains(optional[:], path) || strings.HasPrefix(path, "input.evidence.") {
			return true
		}
		schema = n[string(key)]
	}
	return false
}

func keysOf(m map[string]any) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// meant suggests what a misspelt word may have been; "" when nothing is near.
func meant(word string, known []string) string {
	best, least := "", max(2, len(word)/5)+1
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return " Did you mean " + best + "?"
}

// distance counts the letters to insert, delete or replace, or pairs to swap, that make b of a.
func distance(a, b string) int {
	if len(a)-len(b) > 8 || len(b)-len(a) > 8 {
		return 9
	}
	prior, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(last[j]+cost, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], prior[j-1]+1)
			}
		}
		prior, last, next = last, next, prior
	}
	return last[len(b)]
}
