package operation

import (
	"maps"
	"strings"
)

const secretMark = "[secret]"

// mask returns v with the values at the paths replaced. What the paths do not touch is shared with v, which stays as
// it is. A body without properties that has secrets is a secret as a whole.
func mask(v any, paths [][]string) any {
	if _, ok := v.(string); ok && len(paths) > 0 {
		return secretMark
	}
	for _, p := range paths {
		v = maskPath(v, p)
	}
	return v
}

func maskPath(v any, path []string) any {
	if v == nil {
		return nil
	}
	if len(path) == 0 {
		return secretMark
	}
	switch v := v.(type) {
	case map[string]any:
		var out map[string]any
		for k, child := range v {
			if path[0] != "*" && !strings.EqualFold(path[0], k) { // case never makes a secret less of one
				continue
			}
			if out == nil {
				out = maps.Clone(v)
			}
			out[k] = maskPath(child, path[1:])
		}
		if out == nil {
			return v
		}
		return out
	case []any:
		rest := path
		if path[0] == "*" {
			rest = path[1:]
		}
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = maskPath(child, rest)
		}
		return out
	default:
		return v
	}
}
