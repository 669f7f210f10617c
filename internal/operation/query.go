package operation

import (
	"slices"
	"strings"

	"countersign/internal/catalog"
)

const maxPairs = 512

type pair struct{ name, value string }

// splitQuery splits on & alone and decodes once.
func splitQuery(raw string, sem *catalog.Semantics, loose bool) ([]pair, error) {
	if raw == "" {
		return nil, nil
	}
	if strings.Count(raw, "&") >= maxPairs {
		return nil, refuse("the query has too many parameters")
	}
	var out []pair
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if separates(part, sem) {
			return nil, refuse("the query has a semicolon that some servers split at")
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := unescape(rawName, true, loose)
		if err != nil {
			return nil, err
		}
		value, err := unescape(rawValue, true, loose)
		if err != nil {
			return nil, err
		}
		if hasControl(name) || strings.IndexByte(value, 0) >= 0 {
			return nil, refuse("the query has control characters")
		}
		out = append(out, pair{name, value})
	}
	return out, nil
}

// separates reports whether a parameter has a semicolon that could end it. In OData, parentheses separate nested options
// with one ($expand=members($select=id;$top=5)) and quotes hold text ($filter=subject eq 'a;b'); no server of such an API
// splits there. A quote that stays open quotes nothing.
func separates(part string, sem *catalog.Semantics) bool {
	if !strings.Contains(part, ";") {
		return false
	}
	plain := strings.ReplaceAll(part, "%27", "'")
	if sem.Keys != odata || strings.Count(plain, "'")%2 != 0 {
		plain = strings.ReplaceAll(plain, "'", "")
	}
	depth, quoted := 0, false
	for i := range len(plain) {
		switch c := plain[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ';' && (depth <= 0 || sem.Keys != odata):
			return true
		}
	}
	return false
}

// systemOptions are OData's own parameters. OData 4.01 lets the $ go; both spellings are one name.
var systemOptions = []string{
	"apply", "compute", "count", "deltatoken", "expand", "filter", "format", "id", "levels", "orderby", "schemaversion",
	"search", "select", "skip", "skiptoken", "top",
}

// groupQuery gathers values by name. Names fold and lose a spelling where the API's servers see none. A parameter
// that steers how a request is read may stand once: servers differ in which one they take.
func groupQuery(pairs []pair, sem *catalog.Semantics) (map[string][]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	out := make(map[string][]string, len(pairs))
	for _, p := range pairs {
		name := p.name
		if sem.FoldCase {
			name = strings.ToLower(name)
		}
		if sem.Keys == odata && slices.Contains(systemOptions, name) {
			name = "$" + name
		}
		if steers(name) && hasFold(out, name) {
			return nil, refuse("the query has a parameter twice that may stand once")
		}
		out[name] = append(out[name], p.value)
	}
	return out, nil
}

func steers(name string) bool {
	return name == "" || name[0] == '$' || strings.EqualFold(name, "api-version") || strings.EqualFold(name, "action")
}

func hasFold(query map[string][]string, name string) bool {
	for have := range query {
		if strings.EqualFold(have, name) {
			return true
		}
	}
	return false
}

// checkMethodOverride refuses a parameter by which some framework takes another method than the request line's.
func checkMethodOverride(query map[string][]string) error {
	for name := range query {
		if overridesMethod(name) {
			return refuse("a parameter overrides the method")
		}
	}
	return nil
}

// overridesMethod knows the spellings of headers, parameters and form fields that replace the method: MS-ODATA's
// X-HTTP-Method, Google's X-HTTP-Method-Override, IBM's X-Method-Override, Rails' _method.
func overridesMethod(name string) bool {
	if len(name) > 64 || !containsFold(name, "method") {
		return false
	}
	if strings.EqualFold(name, "_method") || strings.EqualFold(name, "$method") {
		return true
	}
	bare := strings.Map(func(r rune) rune {
		switch {
		case r == '-' || r == '_' || r == '$' || r == '.' || r == ' ':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return r
		}
	}, name)
	switch bare {
	case "xhttpmethod", "xhttpmethodoverride", "xmethodoverride", "xmethod", "httpmethodoverride", "methodoverride", "httpxhttpmethodoverride":
		return true
	default:
		return false
	}
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// containsFold reports whether s has the lower-case ASCII word in it, in any case, without allocating.
func containsFold(s, word string) bool {
	for i := 0; i+len(word) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(word)], word) {
			return true
		}
	}
	return false
}
