package catalog

import (
	"slices"
	"strings"
)

// withinFields reports whether there is an object at each of the paths, and no object there has a property that is
// not in the path's list.
func withinFields(tests []valueTest, body any, fold bool) bool {
	return !slices.ContainsFunc(tests, func(t valueTest) bool {
		return !t.path.found(body, fold, anything) || t.path.found(body, fold, t.exceeds)
	})
}

// exceeds reports whether a value is no object, or has a property that is not in the list.
func (t valueTest) exceeds(v any) bool {
	if list, ok := v.([]any); ok {
		return len(list) == 0 || slices.ContainsFunc(list, t.exceeds)
	}
	m, ok := v.(map[string]any)
	for k := range m {
		low := strings.ToLower(k)
		if !slices.ContainsFunc(t.values, func(want string) bool { return wild(want, low) }) {
			return true
		}
	}
	return !ok
}

// textHas reports whether a body is text, as XML and multipart are, and has one of the words in it.
func textHas(body any, words []string) bool {
	s, ok := body.(string)
	if !ok {
		return false
	}
	low := strings.ToLower(s)
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(low, strings.ToLower(word)) })
}
