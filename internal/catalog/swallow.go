package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// swallowed checks that no entry is weaker than a sensitive one over the same paths without saying so. It looks only at the
// entries that the trie has over each, so that loading costs by the number of entries and not by its square.
func (a *API) swallowed() []error {
	var problems []error
	for _, o := range a.entries {
		if o.sensitive {
			continue
		}
		over := a.root.over(o.pattern.tokens)
		for _, name := range o.inside {
			if !slices.ContainsFunc(over, func(s *entry) bool {
				return s.sensitive && s.name == name && !o.pattern.covers(s.pattern)
			}) {
				problems = append(problems, fmt.Errorf("%s: entry %s: %s is not strictly inside any path of %q", o.file, o.name, o.pattern.text, name))
			}
		}
		for _, s := range over {
			if s.sensitive && len(s.when) == 0 && s.methods.covers(o.methods) && !slices.Contains(o.inside, s.name) {
				problems = append(problems, fmt.Errorf("%s: entry %s: %s is never reached: the sensitive entry %s covers it", o.file, o.name, o.pattern.text, s.name))
			}
		}
	}
	return problems
}

// over returns the entries below n whose patterns cover q, as pattern.covers has it.
func (n *node) over(q []token) []*entry {
	var out []*entry
	met := map[*node]bool{} // a rest may lead to one place in several ways
	n.covering(q, func(at *node) {
		if !met[at] {
			met[at] = true
			out = append(out, at.entries...)
		}
	})
	return out
}

func (n *node) covering(q []token, found func(*node)) {
	if n.rest != nil {
		for i := range len(q) + 1 {
			n.rest.covering(q[i:], found)
		}
	}
	if len(q) == 0 {
		if len(n.entries) > 0 {
			found(n)
		}
		return
	}
	if q[0].kind == rest {
		return
	}
	if q[0].kind == literal {
		if c, ok := n.literals[q[0].text]; ok {
			c.covering(q[1:], found)
		}
	}
	for _, c := range n.prefixes {
		if (q[0].kind == literal || q[0].kind == prefix) && strings.HasPrefix(q[0].text, c.text) {
			c.node.covering(q[1:], found)
		}
	}
	for _, c := range n.suffixes {
		if (q[0].kind == literal || q[0].kind == suffix) && strings.HasSuffix(q[0].text, c.text) {
			c.node.covering(q[1:], found)
		}
	}
	if n.param != nil {
		n.param.covering(q[1:], found)
	}
}
