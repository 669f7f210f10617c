package catalog

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// These tests look at every entry of the shipped catalog, which the public face does not list.

func shippedAPIs(t *testing.T) []*API {
	t.Helper()
	c, err := Load(os.DirFS("../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	var out []*API
	for _, a := range c.apis {
		out = append(out, a)
	}
	return out
}

// examples are paths that a pattern matches: its rest empty, short and long.
func (p pattern) examples() [][]string {
	out := [][]string{{}}
	for _, tok := range p.tokens {
		fills := [][]string{{tok.text}}
		switch tok.kind {
		case prefix:
			fills = [][]string{{tok.text + "suffix"}}
		case suffix:
			fills = [][]string{{"3f2504e0" + tok.text}}
		case param:
			fills = [][]string{{"3f2504e0-4f89-11d3"}}
		case rest:
			fills = [][]string{{}, {"one", "two"}}
		case literal:
		}
		var next [][]string
		for _, head := range out {
			for _, fill := range fills {
				next = append(next, slices.Concat(head, fill))
			}
		}
		out = next
	}
	return out
}

func TestNoOrdinaryEntrySpeaksForASensitivePath(t *testing.T) {
	for _, a := range shippedAPIs(t) {
		named := map[string][]*entry{}
		for _, e := range a.entries {
			named[e.name] = append(named[e.name], e)
		}
		for _, e := range a.entries {
			if !e.sensitive || len(e.when) > 0 {
				continue
			}
			for _, path := range e.pattern.examples() {
				for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
					m := a.Match(Call{Method: method, Segments: path})
					exception := slices.ContainsFunc(named[m.Name], func(o *entry) bool {
						return len(o.inside) > 0
					})
					switch {
					case e.methods.has(method) && !m.Sensitive && !exception:
						t.Errorf("%s: %s /%s is %s (%s), want it sensitive", e.name, method, strings.Join(path, "/"), m.Name, m.Coverage)
					case method != "GET" && m.Coverage == Listed && !m.Sensitive && !exception && slices.ContainsFunc(named[m.Name], func(o *entry) bool {
						return o.pattern.family() && len(o.when) == 0 && o.pattern.covers(e.pattern)
					}):
						t.Errorf("%s: the family %s speaks for %s /%s", e.name, m.Name, method, strings.Join(path, "/"))
					}
				}
			}
		}
	}
}

// The trie must find over an entry exactly those that the definition of covering says are there.
func TestTheTrieFindsWhateverCoversAnEntry(t *testing.T) {
	for _, a := range shippedAPIs(t) {
		for _, o := range a.entries {
			over := a.root.over(o.pattern.tokens)
			for _, s := range a.entries {
				if got, want := slices.Contains(over, s), s.pattern.covers(o.pattern); got != want {
					t.Fatalf("%s: over %s the trie has %s: %v, want %v", a.name, o.pattern.text, s.pattern.text, got, want)
				}
			}
		}
	}
}

func TestEveryEntryRendersWithAndWithoutParameters(t *testing.T) {
	for _, a := range shippedAPIs(t) {
		for _, e := range a.entries {
			full := map[string]string{}
			for _, tpl := range []template{e.summary, e.undone} {
				for _, part := range tpl {
					for _, p := range part.params {
						full[p] = "Value"
					}
				}
			}
			for _, params := range []map[string]string{{}, full} {
				for _, line := range []string{e.summary.render(params, a.names), e.undone.render(params, a.names)} {
					if strings.ContainsAny(line, "{}|") || strings.Contains(line, "  ") || strings.HasSuffix(line, ".") || len(line) > 160 {
						t.Errorf("%s: %s renders as %q", e.file, e.name, line)
					}
					if r := []rune(line); e.sensitive && (len(r) == 0 || unicode.IsLower(r[0])) {
						t.Errorf("%s: %s renders as %q, which starts no sentence", e.file, e.name, line)
					}
				}
			}
		}
	}
}

func TestNamesAreLowerCaseWordsAndNeverSecret(t *testing.T) {
	for _, a := range shippedAPIs(t) {
		for _, e := range a.entries {
			if strings.Trim(e.name, "abcdefghijklmnopqrstuvwxyz0123456789_.") != "" {
				t.Errorf("%s: name %q", e.file, e.name)
			}
			for name, at := range e.params {
				last := at[len(at)-1]
				if a.secrets.anywhere[strings.ToLower(last)] || slices.ContainsFunc(slices.Concat(a.secrets.paths, e.secrets), func(s bodyPath) bool {
					return strings.EqualFold(s[len(s)-1], last) && last != "*"
				}) {
					t.Errorf("%s: %s: parameter %s is the secret %s", e.file, e.name, name, last)
				}
			}
		}
	}
}

func TestEveryShippedEntryHasASource(t *testing.T) {
	for _, a := range shippedAPIs(t) {
		for _, e := range a.entries {
			if !strings.HasPrefix(e.source, "https://") {
				t.Errorf("entry %s %s of %s has no page as its source: %q", e.method, e.pattern.text, e.file, e.source)
			}
		}
	}
}
