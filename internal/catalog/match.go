package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// maxDepth bounds a path. Nothing an API serves comes near, and what lies deeper is not known to be ordinary.
const maxDepth = 64

// Match names one call. Of the entries whose path, method and conditions hold, a sensitive one wins over any other,
// unless that one lies strictly inside it and says so; among equals the more specific wins, then the stricter category.
func (a *API) Match(call Call) Match {
	segments := a.collapse(call.Segments)
	if len(segments) > maxDepth {
		return Match{Category: OrdinaryWrite, Coverage: Unlisted, ChangesFactor: len(a.factor) > 0, Secrets: a.masked(&call, nil)}
	}
	call.Method = strings.ToUpper(call.Method)
	var c choice
	readings := a.readings(segments)
	for _, path := range readings {
		c.path = path
		c.collect(a, &call)
	}
	best := c.settle(isRead(call.Method))
	m := a.describe(&call, best)
	if best.entry != nil {
		a.addAlso(&m, &call, best, c.sensitive)
	} else {
		m.ChangesFactor = !isRead(call.Method) && slices.ContainsFunc(readings, a.administersFactors)
	}
	m.Secrets = a.masked(&call, append(c.sensitive, best))
	return m
}

// administersFactors reports whether what nobody listed at that path may change what somebody confirms with. A factor is not to
// confirm what the catalog has not learnt of yet.
func (a *API) administersFactors(r reading) bool {
	return slices.ContainsFunc(a.factor, func(p pattern) bool {
		return captureTokens(p.tokens, r.segments, r.folded, map[string]string{})
	})
}

// reading is one way to take a path whose qualified segments may be casts or names.
type reading struct {
	id               int
	segments, folded []string
}

type candidate struct {
	entry *entry
	path  reading
}

// choice gathers what matches.
type choice struct {
	path      reading
	sensitive []candidate // method and conditions hold
	other     []candidate // the same, not sensitive
	guards    []candidate // sensitive and unconditional, for another method
}

func (c *choice) collect(a *API, call *Call) {
	a.root.walk(c.path.folded, func(entries []*entry) {
		for _, e := range entries {
			if !e.methods.has(call.Method) {
				if e.sensitive && len(e.when) == 0 {
					c.guards = append(c.guards, candidate{e, c.path})
				}
				continue
			}
			if !e.holds(call, a.semantics.FoldCase) {
				continue
			}
			if e.sensitive {
				c.sensitive = append(c.sensitive, candidate{e, c.path})
			} else {
				c.other = append(c.other, candidate{e, c.path})
			}
		}
	})
}

func (e *entry) holds(call *Call, fold bool) bool {
	for i := range e.when {
		if !e.when[i].holds(call, fold, e.sensitive) {
			return false
		}
	}
	return true
}

// settle chooses. Nothing chosen means: not listed.
func (c *choice) settle(read bool) candidate {
	byRank := func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.entry.pattern.rank, a.entry.pattern.rank),
			cmp.Compare(severity[a.entry.category], severity[b.entry.category]),
			cmp.Compare(len(b.entry.when), len(a.entry.when)))
	}
	slices.SortStableFunc(c.sensitive, byRank)
	slices.SortStableFunc(c.other, byRank)
	for _, o := range c.other {
		if !c.standsAgainst(o, read) {
			continue
		}
		return o
	}
	if len(c.sensitive) > 0 {
		return c.sensitive[0]
	}
	return candidate{}
}

// standsAgainst reports whether an entry that is not sensitive may name the call although sensitive ones are near.
func (c *choice) standsAgainst(o candidate, read bool) bool {
	for _, s := range c.sensitive {
		if !slices.Contains(o.entry.inside, s.entry.name) || !s.entry.pattern.strictlyCovers(o.entry.pattern) {
			return false
		}
	}
	// A family of ordinary writes does not speak for a method that nobody listed on a sensitive path.
	return read || !o.entry.pattern.family() || !slices.ContainsFunc(c.guards, func(g candidate) bool {
		return g.path.id == o.path.id && g.entry.pattern.literals() && !g.entry.pattern.covers(o.entry.pattern)
	})
}

func (a *API) describe(call *Call, c candidate) Match {
	e := c.entry
	if e == nil {
		if isRead(call.Method) {
			return Match{Category: Read, Coverage: Unlisted, Params: map[string]string{}}
		}
		return Match{Category: OrdinaryWrite, Coverage: Unlisted, Params: map[string]string{}}
	}
	params := a.params(call, c)
	return Match{
		Name: e.name, Category: e.category, Coverage: Listed, Sensitive: e.sensitive, ResourceType: e.resource,
		ResourceID: params[e.resource], Params: params,
		Summary: e.summary.render(params, a.names), Undone: e.undone.render(params, a.names), ChangesFactor: e.changesFactor,
	}
}

func (a *API) params(call *Call, c candidate) map[string]string {
	out := c.entry.pattern.capture(c.path.segments, c.path.folded)
	for name, v := range out {
		if key, id, ok := strings.Cut(v, "="); ok && slices.ContainsFunc(a.semantics.PlainKeys, func(k string) bool { return strings.EqualFold(k, key) }) {
			out[name] = id
		}
	}
	for name, at := range c.entry.params {
		if v, ok := at.first(call.Body, a.semantics.FoldCase); ok {
			out[name] = v
		}
	}
	return out
}

// addAlso tells of what else the call does: one PATCH may reset a password and make a guest a member, and the person
// who approves must see both.
func (a *API) addAlso(m *Match, call *Call, best candidate, sensitive []candidate) {
	for _, s := range sensitive {
		e := s.entry
		if e.name == m.Name || slices.Contains(m.Also, e.name) || len(e.when) == 0 ||
			e.pattern.text != best.entry.pattern.text && !e.pattern.family() { // a {name} beside the name is another route
			continue
		}
		m.Also = append(m.Also, e.name)
		m.ChangesFactor = m.ChangesFactor || e.changesFactor
		m.Summary += "; also: " + e.summary.render(a.params(call, s), a.names)
	}
}

// collapse folds a path-addressed item into one segment: root:/a/b:/createLink is root: and createLink. Names of
// files must neither hide an operation nor look like one.
func (a *API) collapse(segments []string) []string {
	if len(a.semantics.PathAddressed) == 0 || !slices.ContainsFunc(segments, func(s string) bool { return strings.HasSuffix(s, ":") }) {
		return segments
	}
	var out []string
	for i := 0; i < len(segments); i++ {
		s := segments[i]
		out = append(out, s)
		if !strings.HasSuffix(s, ":") || !a.addresses(segments, i) {
			continue
		}
		end := slices.IndexFunc(segments[i+1:], func(s string) bool { return strings.HasSuffix(s, ":") })
		if end < 0 {
			break // the rest is the item's own path
		}
		i += end + 1
	}
	return out
}

// addresses reports whether segment i may start a path: root:, or an id under one of the collections that allow it.
func (a *API) addresses(segments []string, i int) bool {
	if strings.EqualFold(segments[i], "root:") {
		return true
	}
	return i > 0 && slices.ContainsFunc(a.semantics.PathAddressed, func(s string) bool { return strings.EqualFold(s, segments[i-1]) })
}

// readings returns the ways to take a path. A qualified segment is an action's name, or a cast that changes nothing of
// where the path leads; both are tried and the stricter result counts.
func (a *API) readings(segments []string) []reading {
	folded := make([]string, len(segments))
	var qualified []int
	for i, s := range segments {
		folded[i] = s
		if a.semantics.FoldCase {
			folded[i] = strings.ToLower(s)
		}
		if slices.ContainsFunc(a.semantics.Namespaces, func(ns string) bool {
			return len(s) > len(ns) && sameName(s[:len(ns)], ns, a.semantics.FoldCase)
		}) {
			qualified = append(qualified, i)
		}
	}
	if len(qualified) == 0 {
		return []reading{{0, segments, folded}}
	}
	bare := slices.Clone(folded)
	for _, i := range qualified {
		bare[i] = bare[i][strings.LastIndex(bare[i], ".")+1:]
	}
	out := []reading{{0, segments, bare}}
	last := qualified[len(qualified)-1]
	for _, keep := range []int{last, -1} {
		r := reading{id: len(out)}
		for i := range segments {
			if i == keep || !slices.Contains(qualified, i) {
				r.segments, r.folded = append(r.segments, segments[i]), append(r.folded, bare[i])
			}
		}
		out = append(out, r)
	}
	return out
}
