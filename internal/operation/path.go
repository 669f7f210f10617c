package operation

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"countersign/internal/catalog"

	"golang.org/x/text/unicode/norm"
)

const (
	maxTarget   = 32 << 10
	maxSegments = 64
)

// target is a request target, read. Wire is what goes into the digest: an identical retry has it identical.
type target struct {
	wire     []string // path segments, decoded once, in the order and case they came in
	pairs    []pair   // query, decoded once, in the order it came in
	version  string   // the API's version segment in its own spelling; "" without versions
	segments []string // after version and tenant, keys in a segment of their own: what the catalog matches
	query    map[string][]string
}

// readTarget reads a target in origin form. A loose target stands inside a document (a batch part's URL), where it
// need not have been escaped for the wire.
func readTarget(raw string, sem *catalog.Semantics, loose bool) (target, error) {
	return readTargetOf(raw, sem, leniency{loose: loose})
}

// leniency says what may pass in a target that is refused elsewhere.
type leniency struct {
	loose bool // characters that need an escape on the wire
	odd   bool // empty segments and dots, as they stand: for one of several readings, never for the only one
}

func readTargetOf(raw string, sem *catalog.Semantics, let leniency) (target, error) {
	loose := let.loose
	if len(raw) > maxTarget {
		return target{}, refuse("the request target is too long")
	}
	if raw == "" || raw[0] != '/' {
		return target{}, refuse("the request target is not a path")
	}
	if strings.IndexByte(raw, '#') >= 0 {
		return target{}, refuse("the request target has a fragment")
	}
	path, query, _ := strings.Cut(raw, "?")
	var t target
	var err error
	if t.wire, err = splitPath(path, sem, let); err != nil {
		return target{}, err
	}
	if t.pairs, err = splitQuery(query, sem, loose); err != nil {
		return target{}, err
	}
	if t.query, err = groupQuery(t.pairs, sem); err != nil {
		return target{}, err
	}
	rest, err := t.cutVersion(t.wire, sem, loose)
	if err != nil {
		return target{}, err
	}
	if sem.TenantPrefix && len(rest) > 0 && isTenant(rest[0], sem) {
		rest = rest[1:]
	}
	if len(rest) > 0 && versionOf(rest[0], sem) != "" {
		return target{}, refuse("the path names a version twice")
	}
	if t.segments, err = splitKeys(rest, sem); err != nil {
		return target{}, err
	}
	return t, nil
}

// cutVersion takes the version off. A loose target has none: it is relative to the version of the request around it.
func (t *target) cutVersion(segments []string, sem *catalog.Semantics, loose bool) ([]string, error) {
	if len(sem.Versions) == 0 {
		return segments, nil
	}
	version := ""
	if len(segments) > 0 {
		version = versionOf(segments[0], sem)
	}
	switch {
	case loose && version != "":
		return nil, refuse("the URL of a batch part names a version")
	case loose:
		return segments, nil
	case version == "" && len(segments) > 0:
		return nil, refuse("the path does not start with a known version of the API")
	case version == "":
		return segments, nil
	default:
		t.version = version
		return segments[1:], nil
	}
}

// versionOf returns the version that a segment names, in the catalog's spelling; "" when it is none.
func versionOf(s string, sem *catalog.Semantics) string {
	for _, v := range sem.Versions {
		if v == s || sem.FoldCase && strings.EqualFold(v, s) {
			return v
		}
	}
	return ""
}

// shown is the path as policy sees it: version in front, tenant gone, casts and namespaces gone.
func (t *target) shown(method string, sem *catalog.Semantics) []string {
	rest := unqualified(t.segments, method, sem)
	if t.version == "" {
		return rest
	}
	out := make([]string, 0, len(rest)+1)
	return append(append(out, t.version), rest...)
}

// isUpload reports whether the path takes a file or a raw value, where the content type describes the file and not
// how the server is to read it.
func (t *target) isUpload(sem *catalog.Semantics) bool {
	if len(t.segments) == 0 || sem.Keys != odata { // known of OData's APIs alone
		return false
	}
	last := t.segments[len(t.segments)-1]
	return strings.EqualFold(last, "content") || strings.EqualFold(last, "$value")
}

func splitPath(path string, sem *catalog.Semantics, let leniency) ([]string, error) {
	parts := strings.Split(path[1:], "/")
	if parts[len(parts)-1] == "" { // one trailing slash changes nothing
		parts = parts[:len(parts)-1]
	}
	if len(parts) > maxSegments {
		return nil, refuse("the path is too deep")
	}
	for i, raw := range parts {
		if let.odd && isOdd(raw) {
			continue
		}
		seg, err := unescape(raw, false, let.loose)
		if err != nil {
			return nil, err
		}
		parts[i] = seg
		if strings.Contains(seg, "/") && mayHaveSlashes(parts[:i+1], sem) {
			for piece := range strings.SplitSeq(seg, "/") {
				if err := checkSegment(piece); err != nil {
					return nil, err
				}
			}
			continue
		}
		if err := checkSegment(unslashed(seg, sem)); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// unslashed is a segment as it is to be judged: a slash inside quotes is part of a key where the API says so.
func unslashed(seg string, sem *catalog.Semantics) string {
	if !sem.QuotedSlashes || !strings.Contains(seg, "'") || strings.Contains(seg, "/.") || strings.Contains(seg, "//") {
		return seg
	}
	quoted := false
	return strings.Map(func(r rune) rune {
		quoted = quoted != (r == '\'')
		if quoted && r == '/' {
			return '_'
		}
		return r
	}, seg)
}

// mayHaveSlashes reports whether the last of the segments is a name that has slashes of its own: repos/o/r/branches/a%2Fb. A server
// that splits there serves another path below the same name, or none.
func mayHaveSlashes(segments []string, sem *catalog.Semantics) bool {
	return slices.ContainsFunc(sem.Slashed, func(path string) bool { return matchesPath(path, segments) })
}

// matchesPath compares segments with a path in which * is any one.
func matchesPath(path string, segments []string) bool {
	return slices.EqualFunc(strings.Split(path, "/"), segments, func(want, have string) bool { return want == "*" || want == have })
}

// unescape decodes percent escapes, once. Plus is a space in a query.
func unescape(s string, plus, loose bool) (string, error) {
	clean := true
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '%' || plus && c == '+':
			clean = false
		case c < ' ' || c == 0x7f, !loose && (c == ' ' || c >= 0x80):
			return "", refuse("the request target has characters that must be escaped")
		}
	}
	if !clean {
		var b strings.Builder
		b.Grow(len(s))
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case c == '%':
				if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
					return "", refuse("the request target has a broken percent escape")
				}
				b.WriteByte(unhex(s[i+1])<<4 | unhex(s[i+2]))
				i += 2
			case plus && c == '+':
				b.WriteByte(' ')
			default:
				b.WriteByte(c)
			}
		}
		s = b.String()
	}
	if !utf8.ValidString(s) {
		return "", refuse("the request target is not UTF-8")
	}
	return s, nil
}

// checkSegment refuses a decoded segment that some server reads as another one, or as several.
func checkSegment(s string) error {
	if s == "" {
		return refuse("the path has an empty segment")
	}
	plainASCII := true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			plainASCII = false
		case c < ' ' || c == 0x7f:
			return refuse("the path has control characters")
		case c == '/' || c == '\\' || c == '?' || c == ';':
			return refuse("the path has an escaped or foreign separator")
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			return refuse("the path is escaped twice")
		}
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return refuse("a path segment starts or ends with white space")
	}
	if s[len(s)-1] == '.' { // dot segments; and some servers drop trailing dots as Windows does
		return refuse("a path segment ends with a dot")
	}
	if plainASCII {
		return nil
	}
	return checkUnicode(s)
}

// checkUnicode refuses letters that look or fold like ASCII and invisible ones. Names of files may be in any script:
// what is refused is a segment that compatibility folding turns into plain ASCII, or into a separator.
func checkUnicode(s string) error {
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != '\u200c' && r != '\u200d' {
			return refuse("the path has invisible characters")
		}
	}
	first, _ := utf8.DecodeRuneInString(s)
	last, _ := utf8.DecodeLastRuneInString(s)
	if unicode.IsSpace(first) || unicode.IsSpace(last) {
		return refuse("a path segment starts or ends with white space")
	}
	folded := strings.Map(func(r rune) rune {
		switch r {
		case 'ı', 'İ': // .NET and Java fold these to i under some cultures
			return 'i'
		default:
			return r
		}
	}, norm.NFKC.String(s))
	if isASCII(folded) {
		return refuse("a path segment has letters that fold to plain ones")
	}
	if strings.ContainsAny(folded, "/\\") {
		return refuse("the path has letters that fold to a separator")
	}
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
