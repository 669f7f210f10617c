package entra

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	andWord    = regexp.MustCompile(`(?i)\s+and\s+`)
	comparison = regexp.MustCompile(`^\s*\(?\s*([A-Za-z/]+)\s+(eq|ne|ge|gt|le|lt)\s+('(?:[^']|'')*'|[^\s']+?)\s*\)?\s*$`)
	anyOf      = regexp.MustCompile(`^\s*([A-Za-z]+)/any\(\s*(\w+)\s*:\s*(\w+)\s+eq\s+'((?:[^']|'')*)'\s*\)\s*$`)
)

// filter keeps what an OData filter keeps: comparisons of one property, and one any(), joined by and.
func filter(all []map[string]any, text string) ([]map[string]any, error) {
	if text == "" {
		return all, nil
	}
	unsupported := &odataError{http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause specified for property."}
	for _, clause := range splitAnd(text) {
		if m := anyOf.FindStringSubmatch(clause); m != nil && m[2] == m[3] {
			all = slices.DeleteFunc(slices.Clone(all), func(e map[string]any) bool {
				list, _ := e[m[1]].([]string)
				return !slices.ContainsFunc(list, func(v string) bool { return strings.EqualFold(v, strings.ReplaceAll(m[4], "''", "'")) })
			})
			continue
		}
		m := comparison.FindStringSubmatch(clause)
		if m == nil {
			return nil, unsupported
		}
		want := m[3]
		if quoted := strings.HasPrefix(want, "'"); quoted {
			want = strings.ReplaceAll(want[1:len(want)-1], "''", "'")
		}
		bad := false
		all = slices.DeleteFunc(slices.Clone(all), func(e map[string]any) bool {
			keep, ok := compare(property(e, m[1]), m[2], want)
			bad = bad || !ok
			return !keep
		})
		if bad {
			return nil, unsupported
		}
	}
	return all, nil
}

// splitAnd splits at "and" outside of quotes.
func splitAnd(text string) []string {
	var out []string
	start := 0
	for _, at := range andWord.FindAllStringIndex(text, -1) {
		if strings.Count(text[start:at[0]], "'")%2 == 0 {
			out = append(out, text[start:at[0]])
			start = at[1]
		}
	}
	return append(out, text[start:])
}

func property(e map[string]any, path string) any {
	var v any = e
	for name := range strings.SplitSeq(path, "/") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

func compare(got any, op, want string) (keep, ok bool) {
	order := 0
	switch v := got.(type) {
	case nil:
		return op == "ne", true
	case bool:
		if op != "eq" && op != "ne" {
			return false, false
		}
		return (strings.EqualFold(want, "true") == v) == (op == "eq"), true
	case string:
		at, err := time.Parse(time.RFC3339Nano, v)
		limit, err2 := time.Parse(time.RFC3339Nano, want)
		switch {
		case err == nil && err2 == nil:
			order = at.Compare(limit)
		case op == "eq" || op == "ne":
			order = strings.Compare(strings.ToLower(v), strings.ToLower(want))
		default:
			return false, false
		}
	default:
		return false, false
	}
	return map[string]bool{"eq": order == 0, "ne": order != 0, "ge": order >= 0, "gt": order > 0, "le": order <= 0, "lt": order < 0}[op], true
}
