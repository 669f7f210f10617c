package catalog

import (
	"maps"
	"slices"
	"strings"
)

// Known is an entry with what it takes a call for, for those who compare the catalog with a vendor's description.
type Known struct {
	Entry
	Category  string
	Sensitive bool
}

// ByName returns the API of that name: "microsoft-graph".
func (c *Catalog) ByName(name string) (*API, bool) {
	a, ok := c.apis[name]
	return a, ok
}

// Names returns the names of every API, sorted.
func (c *Catalog) Names() []string { return slices.Sorted(maps.Keys(c.apis)) }

// AnyHost returns a host that belongs to the API: where it has patterns only, one that they cover.
func (a *API) AnyHost() string {
	for _, h := range a.hosts {
		if !strings.HasPrefix(h, "*.") {
			return h
		}
	}
	if len(a.hosts) == 0 {
		return ""
	}
	return "any" + strings.TrimPrefix(a.hosts[0], "*")
}

// Entries returns every entry, one for each path that it stands for.
func (a *API) Entries() []Known {
	out := make([]Known, 0, len(a.entries))
	for _, e := range a.entries {
		out = append(out, e.known())
	}
	return out
}

// Survey returns every entry whose path and method are those of the call, whatever it asks of query and body. A version
// that policy sees in the path may stand there, and an entry may be told more than once.
func (a *API) Survey(call Call) []Known {
	call.Method = strings.ToUpper(call.Method)
	segments := a.collapse(a.unversioned(call.Segments))
	if len(segments) > maxDepth {
		return nil
	}
	var out []Known
	for _, path := range a.readings(segments) {
		a.root.walk(path.folded, func(entries []*entry) {
			for _, e := range entries {
				if e.methods.has(call.Method) {
					out = append(out, e.known())
				}
			}
		})
	}
	return out
}

func (a *API) unversioned(segments []string) []string {
	if len(segments) > 0 && slices.Contains(a.semantics.Versions, segments[0]) {
		return segments[1:]
	}
	return segments
}

func (e *entry) known() Known {
	return Known{Entry: e.told(false), Category: e.category, Sensitive: e.sensitive}
}
