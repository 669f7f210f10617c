package operation

import (
	"strings"

	"countersign/internal/catalog"
)

const odata = "odata"

// splitKeys puts OData keys and arguments into a segment of their own: users('x') is users and x, users(x) too,
// applications(appId='x') is applications and appId=x, delta() is delta. Other syntaxes pass through.
func splitKeys(segments []string, sem *catalog.Semantics) ([]string, error) {
	if sem.Keys != odata || !hasParens(segments) {
		return segments, nil
	}
	segments = joinQuoted(segments, sem)
	out := make([]string, 0, len(segments)+2)
	inPath := false // between "root:" and the next colon segments are names of files, whatever they look like
	for i, s := range segments {
		if inPath {
			out = append(out, s)
			inPath = !strings.HasSuffix(s, ":")
			continue
		}
		if strings.HasSuffix(s, ":") && startsPath(segments, i, sem) {
			out, inPath = append(out, s), true
			continue
		}
		name, inner, ok := strings.Cut(s, "(")
		if !ok {
			if strings.Contains(s, ")") {
				return nil, refuse("a key has unbalanced parentheses")
			}
			out = append(out, s)
			continue
		}
		inner, closed := strings.CutSuffix(inner, ")")
		if !closed || name == "" {
			return nil, refuse("a key has unbalanced parentheses")
		}
		if err := checkSegment(name); err != nil {
			return nil, err
		}
		out = append(out, name)
		key, err := readArguments(inner)
		if err != nil {
			return nil, err
		}
		if key == "." || key == ".." || strings.HasSuffix(key, ":") { // outside of its quotes it would start a path of names
			return nil, refuse("a key looks like path syntax")
		}
		if key != "" {
			out = append(out, key)
		}
	}
	return out, nil
}

func hasParens(segments []string) bool {
	for _, s := range segments {
		if strings.ContainsAny(s, "()") {
			return true
		}
	}
	return false
}

// startsPath is the catalog's own rule for path-addressed items.
func startsPath(segments []string, i int, sem *catalog.Semantics) bool {
	if len(sem.PathAddressed) == 0 {
		return false
	}
	if strings.EqualFold(segments[i], "root:") {
		return true
	}
	for _, c := range sem.PathAddressed {
		if i > 0 && strings.EqualFold(segments[i-1], c) {
			return true
		}
	}
	return false
}

// readArguments reads what stands between parentheses: nothing, one value, or name=value pairs, quotes taken off.
func readArguments(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	var out []string
	for rest, more := s, true; more; {
		var arg string
		var err error
		if arg, rest, more, err = nextArgument(rest); err != nil {
			return "", err
		}
		name, value, named := cutName(arg)
		if value, err = literal(value); err != nil {
			return "", err
		}
		switch {
		case named:
			value = name + "=" + value
		case value == "":
			return "", refuse("a key is empty")
		case more || len(out) > 0:
			return "", refuse("a key has several values without names")
		}
		out = append(out, value)
	}
	return strings.Join(out, ","), nil
}

// nextArgument takes one argument off: up to a comma that stands in neither quotes nor brackets.
func nextArgument(s string) (arg, rest string, more bool, err error) {
	quoted, depth := false, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(' || c == ')':
			return "", "", false, refuse("a key has nested parentheses")
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == ',' && depth == 0:
			return s[:i], s[i+1:], true, nil
		}
	}
	if quoted || depth != 0 {
		return "", "", false, refuse("a key has an unclosed quote or bracket")
	}
	return s, "", false, nil
}

func cutName(arg string) (name, value string, named bool) {
	name, value, named = strings.Cut(arg, "=")
	if !named || !isIdentifier(name) {
		return "", arg, false
	}
	return name, value, true
}

// literal takes the quotes off a value. OData 4.01 part 2 §5.1.1.6.1: a quote inside is doubled.
func literal(s string) (string, error) {
	first := strings.IndexByte(s, '\'')
	switch {
	case strings.HasPrefix(s, "@"):
		return "", refuse("a key stands somewhere else in the request") // a parameter alias: the query has the value
	case strings.HasPrefix(s, "[") || strings.HasPrefix(s, "{"):
		return s, nil
	case first < 0:
		if s != strings.TrimSpace(s) {
			return "", refuse("a key starts or ends with white space")
		}
		return s, nil
	case first > 0 && !isIdentifier(s[:first]) || len(s) < first+2 || s[len(s)-1] != '\'':
		return "", refuse("a key is not one quoted value")
	}
	inner := s[first+1 : len(s)-1] // guid'…' is how OData 2 wrote a typed value
	value := strings.ReplaceAll(inner, "''", "\x00")
	if strings.Contains(value, "'") {
		return "", refuse("a key is not one quoted value")
	}
	value = strings.ReplaceAll(value, "\x00", "'")
	if value != strings.TrimSpace(value) {
		return "", refuse("a key starts or ends with white space")
	}
	return value, nil
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// unqualified takes type casts out and namespaces off. A qualified name that ends a POST or a GET is an action or a
// function and stays; anywhere else it is a cast, which changes nothing of where the path leads. The catalog gets the
// names qualified and tries both readings; this is the one that policy is shown.
func unqualified(segments []string, method string, sem *catalog.Semantics) []string {
	if !hasQualified(segments, sem) {
		return segments
	}
	out := make([]string, 0, len(segments))
	inPath := false
	for i, s := range segments {
		name, ok := cutNamespace(s, sem)
		switch {
		case inPath:
			out = append(out, s)
			inPath = !strings.HasSuffix(s, ":")
		case !ok:
			out = append(out, s)
			inPath = strings.HasSuffix(s, ":") && startsPath(segments, i, sem)
		case i == len(segments)-1 && (method == "POST" || isRead(method)):
			out = append(out, name)
		case i+1 < len(segments) && strings.Contains(segments[i+1], "="): // a function's arguments follow
			out = append(out, name)
		}
	}
	return out
}

func hasQualified(segments []string, sem *catalog.Semantics) bool {
	for _, s := range segments {
		if _, ok := cutNamespace(s, sem); ok {
			return true
		}
	}
	return false
}

func cutNamespace(s string, sem *catalog.Semantics) (string, bool) {
	for _, ns := range sem.Namespaces {
		if len(s) > len(ns) && (s[:len(ns)] == ns || sem.FoldCase && strings.EqualFold(s[:len(ns)], ns)) {
			rest := s[len(ns):]
			name := rest[strings.LastIndexByte(rest, '.')+1:]
			if isIdentifier(name) && isIdentifier(strings.ReplaceAll(rest, ".", "_")) { // not an id that starts like one
				return name, true
			}
		}
	}
	return "", false
}

// isTenant reports whether a segment in the tenant's place is one: a GUID, a domain or "myorganization".
func isTenant(s string, sem *catalog.Semantics) bool {
	if strings.EqualFold(s, "myorganization") || isGUID(s) {
		return true
	}
	if _, ok := cutNamespace(s, sem); ok || !strings.Contains(s, ".") {
		return false
	}
	return isCanonicalName(strings.ToLower(s))
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (s[i] == '-') || !dash && !isHex(s[i]) {
			return false
		}
	}
	return true
}
