package operation

import (
	"slices"
	"strings"

	"countersign/internal/catalog"
	"countersign/policy"
)

// isOdd reports whether a segment is one that servers drop, resolve or take as it stands.
func isOdd(segment string) bool { return segment == "" || segment == "." || segment == ".." }

// cleanRead reads a GET or HEAD whose path has doubled slashes or dot segments, written plainly. Which resource its server serves
// is not known, but the ways to read it are few: each is judged by the catalog here and by policy afterwards, and one that is
// anything but an ordinary read leaves the request uninspectable.
func (p *Parser) cleanRead(r Request, h header, s *surface) (Call, bool) {
	if s.api == nil || !s.sem.CleanReads || p.catalog.Customer(s.host) || (r.Method != "GET" && r.Method != "HEAD") || len(r.Body) > 0 {
		return Call{}, false
	}
	path, query, _ := strings.Cut(r.Target, "?")
	forms := pathForms(path)
	if len(forms) == 0 {
		return Call{}, false
	}
	call := Call{API: s.name()}
	for _, form := range forms {
		t, err := readTargetOf(form+"?"+query, &s.sem, leniency{odd: true})
		if err != nil || checkMethodOverride(t.query) != nil || s.mentionsBatch(t) {
			return Call{}, false
		}
		if call.Digest == (policy.Digest{}) { // the first form is the path as it stands, which is what goes upstream
			call.Digest = p.digest(r, h, t, &s.sem, nil)
		}
		readings, err := s.unfold(reading{method: r.Method, target: t, headers: h.forPolicy(), body: body{kind: kindNone}, digest: call.Digest})
		if err != nil {
			return Call{}, false
		}
		for _, one := range readings {
			in := s.input(one)
			if in.Operation.Sensitive || in.Operation.Category != catalog.Read {
				return Call{}, false
			}
			call.Inputs = append(call.Inputs, in)
		}
	}
	if call.Batch = len(call.Inputs) > 1; call.Batch {
		for i := range call.Inputs {
			call.Inputs[i].Operation.Batch = &policy.Batch{Index: i, Size: len(call.Inputs)}
		}
	}
	return call, true
}

// pathForms are the paths that servers make of one with odd segments: as it stands; dot segments resolved (RFC 3986 §5.2.4);
// doubled slashes merged; and both, in either order. None where the path has none, where dots climb out of it, and where it starts
// with two slashes, because some take what follows for a host.
func pathForms(path string) []string {
	if strings.HasPrefix(path, "//") {
		return nil
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if segments[len(segments)-1] == "" { // one trailing slash changes nothing
		segments = segments[:len(segments)-1]
	}
	if !slices.ContainsFunc(segments, isOdd) || len(segments) > maxSegments {
		return nil
	}
	resolved, ok := resolveDots(segments)
	merged := mergeSlashes(segments)
	both, fine := resolveDots(merged)
	if !ok || !fine {
		return nil
	}
	var out []string
	for _, form := range [][]string{segments, resolved, merged, both, mergeSlashes(resolved)} {
		if path := "/" + strings.Join(form, "/"); !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

func mergeSlashes(segments []string) []string {
	return slices.DeleteFunc(slices.Clone(segments), func(s string) bool { return s == "" })
}

// resolveDots reports false where there is nothing to climb out of: servers differ in what they do then.
func resolveDots(segments []string) ([]string, bool) {
	out := make([]string, 0, len(segments))
	for _, s := range segments {
		switch {
		case s == ".":
		case s == ".." && len(out) == 0:
			return nil, false
		case s == "..":
			out = out[:len(out)-1]
		default:
			out = append(out, s)
		}
	}
	return out, true
}
