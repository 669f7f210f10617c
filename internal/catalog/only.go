package catalog

import (
	"slices"
	"strings"
)

// only reports whether a body is an object, not empty, with nothing but the named properties. A name of several parts,
// profile/city, allows that property of an object, or of each object in a list, and none beside it.
func only(body any, names []string, fold bool) bool {
	m, ok := body.(map[string]any)
	return ok && len(m) > 0 && within(m, names, fold)
}

func within(v any, names []string, fold bool) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			whole, inner := allowed(k, names, fold)
			if !whole && (len(inner) == 0 || !within(child, inner, fold)) {
				return false
			}
		}
		return true
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !within(e, names, fold) })
	default:
		return false
	}
}

// allowed says whether a property may be there with whatever is in it, and else which names may stand in it.
func allowed(key string, names []string, fold bool) (whole bool, inner []string) {
	for _, n := range names {
		head, tail, deep := strings.Cut(n, "/")
		switch {
		case !sameName(key, head, fold):
		case !deep:
			return true, nil
		default:
			inner = append(inner, tail)
		}
	}
	return false, inner
}
