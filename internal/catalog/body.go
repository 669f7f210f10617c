package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// first returns the scalar at a body path. Where there are several, none is shown as if it were the only one.
func (p bodyPath) first(body any, fold bool) (string, bool) {
	var values []string
	p.each(body, fold, nil, func(at []string, v any) bool {
		last := strings.ToLower(at[len(at)-1])
		for _, s := range scalars(v) {
			if last == "@odata.id" || strings.HasSuffix(last, "@odata.bind") {
				s = reference(s)
			}
			values = append(values, s)
		}
		return true
	})
	slices.Sort(values) // a map has no order, and a summary must not change between two looks at one call
	values = slices.Compact(values)
	switch {
	case len(values) == 0:
		return "", false
	case len(values) > maxNamed:
		return fmt.Sprintf("%s and %d more", strings.Join(values[:maxNamed], ", "), len(values)-maxNamed), true
	default:
		return strings.Join(values, ", "), true
	}
}

const maxNamed = 3

// scalars are the texts of a value, or of the elements of the list that it is.
func scalars(v any) []string {
	if list, ok := v.([]any); ok {
		var out []string
		for _, e := range list {
			out = append(out, scalars(e)...)
		}
		return out
	}
	if s := scalar(v); s != "" {
		return []string{s}
	}
	return nil
}

// secretSet is the secrets of a whole API. Names at any depth, which most are, share one walk of the body.
type secretSet struct {
	anywhere map[string]bool // lower case where the API folds
	paths    []bodyPath
}

func (s *secretSet) add(p bodyPath, fold bool) {
	if len(p) != 2 || p[0] != "**" || strings.Contains(p[1], "*") {
		s.paths = append(s.paths, p)
		return
	}
	if s.anywhere == nil {
		s.anywhere = map[string]bool{}
	}
	name := p[1]
	if fold {
		name = strings.ToLower(name)
	}
	s.anywhere[name] = true
}

// masked lists the secrets of a body by the body's own spelling, so that a mask finds them.
func (a *API) masked(call *Call, matched []candidate) [][]string {
	if !structured(call.Body) {
		return nil
	}
	m := masker{fold: a.semantics.FoldCase, seen: map[string]bool{}}
	m.walk(a.secrets.anywhere, call.Body, nil)
	for _, p := range a.secrets.paths {
		p.each(call.Body, m.fold, nil, m.add)
	}
	for _, c := range matched {
		if c.entry == nil {
			continue
		}
		for _, p := range c.entry.secrets {
			p.each(call.Body, m.fold, nil, m.add)
		}
	}
	return m.out
}

type masker struct {
	fold bool
	seen map[string]bool
	out  [][]string
}

func (m *masker) add(at []string, _ any) bool {
	if key := strings.Join(at, "\x00"); !m.seen[key] {
		m.seen[key] = true
		m.out = append(m.out, slices.Clone(at))
	}
	return true
}

func (m *masker) walk(names map[string]bool, v any, at []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			here := append(at, k)
			name := k
			if m.fold {
				name = strings.ToLower(k)
			}
			if names[name] {
				m.add(here, child)
			}
			m.walk(names, child, here)
		}
	case []any:
		here := append(at, "*")
		for _, child := range v {
			m.walk(names, child, here)
		}
	}
}
