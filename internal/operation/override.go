package operation

import (
	"slices"
	"strings"

	"countersign/internal/catalog"
)

// methodOverride returns the method that a header puts in the place of POST, and "" without one. Only headers that the
// API's servers document count; any other was refused while the header was read.
func (h *header) methodOverride(method string, sem *catalog.Semantics) (string, error) {
	found := ""
	for _, name := range sem.MethodHeaders {
		for _, v := range h.all[name] {
			if found != "" || method != "POST" || !slices.Contains([]string{"PUT", "PATCH", "MERGE", "DELETE"}, v) {
				return "", refuse("a header overrides the method in a way that is not known")
			}
			found = v
		}
	}
	return found, nil
}

// match asks the catalog. Where a header makes another method of a POST, a proxy on the way may have taken it off: what
// the bare POST does counts too, and the stricter of both is the answer.
func (s *surface) match(c catalog.Call, override string) catalog.Match {
	m := s.api.Match(c)
	if override == "" {
		return m
	}
	c.Method = override
	if override == "MERGE" { // what MS-ODATA §2.2.4.1 called PATCH before there was one
		c.Method = "PATCH"
	}
	if o := s.api.Match(c); o.Sensitive || !m.Sensitive {
		return o
	}
	return m
}

// joinQuoted puts segments back together that a slash inside quotes has torn apart.
func joinQuoted(segments []string, sem *catalog.Semantics) []string {
	if !sem.QuotedSlashes || !slices.ContainsFunc(segments, func(s string) bool { return strings.Count(s, "'")%2 == 1 }) {
		return segments
	}
	out := make([]string, 0, len(segments))
	open := false
	for _, s := range segments {
		if open {
			out[len(out)-1] += "/" + s
		} else {
			out = append(out, s)
		}
		if strings.Count(s, "'")%2 == 1 {
			open = !open
		}
	}
	return out
}
