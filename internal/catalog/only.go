package catalog

import "strings"

// only reports whether a body is an object, not empty, with nothing but the named properties. A name of several parts,
// profile/city, allows that property of an object and none beside it.
func only(body any, names []string, fold bool) bool {
	m, ok := body.(map[string]any)
	return ok && len(m) > 0 && within(m, names, fold)
}

func within(m map[string]any, names []string, fold bool) bool {
	for k, v := range m {
		var inner []string
		known := false
		for _, n := range names {
			if sameName(k, n, fold) {
				known = true
				break
			}
			if head, tail, ok := strings.Cut(n, "/"); ok && sameName(k, head, fold) {
				inner = append(inner, tail)
			}
		}
		if known {
			continue
		}
		child, ok := v.(map[string]any) // a list is not looked into: its elements may be anything
		if !ok || len(inner) == 0 || !within(child, inner, fold) {
			return false
		}
	}
	return true
}
