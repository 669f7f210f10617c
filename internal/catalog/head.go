package catalog

import (
	"slices"
	"strings"
)

func queryHas(query, want map[string][]string, fold bool) bool {
	for name, values := range query {
		for key, words := range want {
			if !sameName(strings.TrimPrefix(name, "$"), strings.TrimPrefix(key, "$"), fold) {
				continue
			}
			if slices.Contains(words, "*") {
				return true
			}
			for _, v := range values {
				if slices.ContainsFunc(words, func(w string) bool { return mentions(v, w) }) {
					return true
				}
			}
		}
	}
	return false
}

// headerHas compares names and values as patterns with a * at either end; names and values fold.
func headerHas(have, want map[string][]string) bool {
	for name, values := range have {
		for key, patterns := range want {
			if keyMatches(key, name, true) && slices.ContainsFunc(values, func(v string) bool {
				return slices.ContainsFunc(patterns, func(p string) bool { return wild(strings.ToLower(p), strings.ToLower(v)) })
			}) {
				return true
			}
		}
	}
	return false
}

// mentions reports whether word stands in v, as a whole: not as a part of a longer name.
func mentions(v, word string) bool {
	if strings.Contains(v, "*") { // $select=* asks for everything
		return true
	}
	isName := func(r rune) bool {
		return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r > 127
	}
	for f := range strings.FieldsFuncSeq(v, func(r rune) bool { return !isName(r) }) {
		if strings.EqualFold(f, word) {
			return true
		}
	}
	return false
}

// queryExceeds reports whether the query has a parameter that is not in the list.
func queryExceeds(query map[string][]string, names []string, fold bool) bool {
	for name := range query {
		if !slices.ContainsFunc(names, func(n string) bool { return sameName(name, n, fold) }) {
			return true
		}
	}
	return false
}
