package operation

import (
	"slices"
	"strings"
)

// maxUnfolded bounds how many operations one request may ask for.
const maxUnfolded = 64

// unfold finds the operations of a request whose API names them elsewhere than by method and path.
func (s *surface) unfold(whole reading) ([]reading, error) {
	switch {
	case s.sem.AWS != nil:
		one, err := s.awsCall(whole)
		return []reading{one}, err
	case s.endpoint(s.sem.GraphQL, whole.target):
		return s.graphQL(whole)
	case s.endpoint(s.sem.JSONRPC, whole.target):
		return s.jsonRPC(whole)
	default:
		return []reading{whole}, nil
	}
}

// endpoint reports whether the target is one of the endpoints.
func (s *surface) endpoint(endpoints []string, t target) bool {
	return len(endpoints) > 0 && slices.ContainsFunc(endpoints, func(e string) bool {
		return slices.EqualFunc(strings.Split(e, "/"), t.segments, func(a, b string) bool {
			return a == b || s.sem.FoldCase && strings.EqualFold(a, b)
		})
	})
}

// isObject reports whether a request carries a file to be stored, which no server reads as anything else.
func (s *surface) isObject(method string, t target) bool {
	if isRead(method) {
		return false
	}
	return s.isStored(method, t) || slices.ContainsFunc(s.sem.Uploads, func(path string) bool { return matchesPath(path, t.segments) })
}

// as is the reading of one operation that has a name of its own.
func (r reading) as(method string, args any, segments ...string) reading {
	r.named = &named{method: method, segments: segments, args: args}
	return r
}

// jsonRPC takes a JSON-RPC 2.0 request apart, or an array of them. Each is matched as its path and its method's name.
func (s *surface) jsonRPC(whole reading) ([]reading, error) {
	if whole.method != "POST" || whole.body.kind != kindJSON {
		return nil, refuse("a JSON-RPC request is not a POST of JSON")
	}
	calls, ok := whole.body.value.([]any)
	if !ok {
		calls = []any{whole.body.value}
	}
	if len(calls) == 0 || len(calls) > maxUnfolded {
		return nil, refuse("a JSON-RPC batch is empty or too large")
	}
	var out []reading
	for _, v := range calls {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, refuse("a JSON-RPC request is not an object")
		}
		method, ok := m["method"].(string)
		if !ok || checkSegment(method) != nil {
			return nil, refuse("a JSON-RPC request has no proper method")
		}
		for k := range m {
			if !slices.Contains([]string{"jsonrpc", "id", "method", "params"}, k) {
				return nil, refuse("a JSON-RPC request has a member that is not known")
			}
		}
		params := m["params"]
		if params == nil {
			params = map[string]any{} // and not the batch that the call came in
		}
		out = append(out, whole.as("POST", params, slices.Concat(whole.target.segments, []string{method})...))
	}
	return out, nil
}

// maskQuery hides parameters that are secrets wherever they stand, and signatures.
func (s *surface) maskQuery(query map[string][]string) map[string][]string {
	var out map[string][]string
	for name := range query {
		if !isPresign[strings.ToLower(name)] && (s.api == nil || !s.api.Secret(name)) {
			continue
		}
		if out == nil {
			out = make(map[string][]string, len(query))
			for k, v := range query {
				out[k] = v
			}
		}
		out[name] = []string{secretMark}
	}
	if out == nil {
		return query
	}
	return out
}
