package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// Entry is where the catalog has a name from, for people who ask why.
type Entry struct {
	Name       string `json:"name"`
	File       string `json:"file"` // below rego/catalog
	Method     string `json:"method"`
	Path       string `json:"path"` // the pattern that the call's path met
	Conditions int    `json:"conditions"`
	Source     string `json:"source,omitempty"` // the vendor's page
	Certain    bool   `json:"certain"`          // this very entry; otherwise one of those with the name
}

// Explain says which entries give a call its name. The call may be masked, or only what policy sees of it: where the
// match cannot be repeated, every entry with the name is told, none of them as certain.
func (a *API) Explain(call Call, name string) []Entry {
	call.Method = strings.ToUpper(call.Method)
	segments := a.collapse(call.Segments)
	if len(segments) > 0 && slices.Contains(a.semantics.Versions, segments[0]) { // policy sees it, the trie does not
		segments = segments[1:]
	}
	if len(segments) <= maxDepth {
		var c choice
		for _, path := range a.readings(segments) {
			c.path = path
			c.collect(a, &call)
		}
		if best := c.settle(isRead(call.Method)).entry; best != nil && best.name == name {
			return []Entry{best.told(true)}
		}
	}
	var out []Entry
	for _, e := range a.entries {
		if e.name == name {
			out = append(out, e.told(false))
		}
	}
	slices.SortStableFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Path, b.Path)) })
	return out
}

func (e *entry) told(certain bool) Entry {
	return Entry{
		Name: e.name, File: e.file, Method: e.method, Path: e.pattern.text, Conditions: len(e.when), Source: e.source, Certain: certain,
	}
}
