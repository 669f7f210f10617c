package catalog

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// costly is an API of n entries with everything that could make a match look at many: names beside each other, rests, prefixes, the same
// path under several methods, and conditions.
func costly(t *testing.T, n int) *API {
	t.Helper()
	kinds := []string{
		`{"name": "c%[1]d.do", "method": "POST", "path": "/c%[1]d/{item}/parts/{part}/do", "category": "credential_reset", "summary": "Do {part}", "undone": "{part} was not done"}`,
		`{"name": "c%[1]d.reset", "method": "PATCH", "path": "/c%[1]d/{item}", "when": [{"has": ["password"]}], "category": "credential_reset", "summary": "Reset {item}", "undone": "{item} was not reset"}`,
		`{"name": "c%[1]d.update", "method": "PATCH", "path": "/c%[1]d/{item}", "when": [{"only": ["city"]}], "category": "ordinary_write"}`,
		`{"name": "c%[1]d.policy", "method": "WRITE", "path": "/**/c%[1]d/policies/**", "category": "security_config", "summary": "Change a policy", "undone": "It was not changed"}`,
		`{"name": "c%[1]d.note", "method": "WRITE", "path": "/c%[1]d/{item}/notes/**", "category": "ordinary_write"}`,
		`{"name": "c%[1]d.query", "method": "POST", "path": "/c%[1]d/get*", "category": "read"}`,
	}
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(kinds[i%len(kinds)], i/len(kinds))
	}
	c, err := Load(fstest.MapFS{"costly.json": {Data: []byte(`{"api": "costly", "hosts": ["api.example.com"], "semantics": {"fold_case": true}, "entries": [` + strings.Join(entries, ",") + `]}`)}})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	a, ok := c.ByHost("api.example.com")
	if !ok {
		t.Fatal("no API")
	}
	return a
}

// reached is how many steps of the trie a match takes, an affix that does not fit being one: what it costs, whatever the machine.
func (n *node) reached(path []string) (nodes int) {
	nodes = 1 + len(n.prefixes) + len(n.suffixes)
	if n.rest != nil {
		for i := range len(path) + 1 {
			nodes += n.rest.reached(path[i:])
		}
	}
	if len(path) == 0 {
		return nodes
	}
	if c, ok := n.literals[path[0]]; ok {
		nodes += c.reached(path[1:])
	}
	for _, c := range append(n.prefixes[:len(n.prefixes):len(n.prefixes)], n.suffixes...) {
		nodes += c.node.reached(path[1:])
	}
	if n.param != nil {
		nodes += n.param.reached(path[1:])
	}
	return nodes
}

func TestAMatchCostsTheSameWith30EntriesAndWith30000(t *testing.T) {
	type cost struct {
		tried, reached int
		allocations    float64
	}
	costs := func(a *API, collection int) map[string]cost {
		out := map[string]cost{}
		for _, c := range []struct{ method, path string }{
			{"POST", "c%d/1/parts/2/do"}, {"PATCH", "c%d/1"}, {"GET", "c%d/1"}, {"PUT", "x/c%d/policies/1"}, {"POST", "c%d/getmore"}, {"POST", "c%d/1/notes/2/3"},
			{"POST", "nowhere%d/1/2/3/4"},
		} {
			segments := strings.Split(fmt.Sprintf(c.path, collection), "/")
			var k cost
			a.root.walk(segments, func(entries []*entry) { k.tried += len(entries) })
			k.reached = a.root.reached(segments)
			call := Call{Method: c.method, Segments: segments, Body: map[string]any{"city": "x"}, BodyKind: "json"}
			k.allocations = testing.AllocsPerRun(20, func() { a.Match(call) })
			out[c.method+" "+c.path] = k
		}
		return out
	}
	few := costs(costly(t, 30), 2)
	for _, n := range []int{300, 3_000, 30_000} {
		a := costly(t, n)
		for _, collection := range []int{2, n/12 - 1, n/6 - 1} {
			for call, got := range costs(a, collection) {
				if got != few[call] {
					t.Errorf("%s of collection %d costs %+v with %d entries, and %+v with 30", call, collection, got, n, few[call])
				}
			}
		}
	}
	for call, k := range few {
		if strings.HasPrefix(call, "POST nowhere") != (k.tried == 0) {
			t.Errorf("%s: %+v", call, k)
		}
	}
}
