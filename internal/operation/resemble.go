package operation

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"countersign/internal/catalog"
	"countersign/policy"

	"golang.org/x/text/unicode/norm"
)

// maxGuesses bounds what is tried for one request.
const maxGuesses = 64

// guess is one way in which some server might read a request that has no single reading.
type guess struct {
	method, path, query string
	body                any
}

// Resembles finds the sensitive operation that a request looks like to the most lenient server, nil when there is none. It is
// for records and sentences about requests that are refused, whatever comes out of it: nothing is let through by it.
func (p *Parser) Resembles(r Request) *policy.Operation {
	api, ok := p.catalog.ByHost(r.Host)
	if !ok || len(r.Target) > maxTarget || int64(len(r.Body)) > p.maxDecoded {
		return nil
	}
	s := surface{host: r.Host, api: api, sem: api.Semantics()}
	var best *policy.Operation
	guesses := p.guesses(r, &s)
	for _, g := range guesses[:min(len(guesses), maxGuesses)] {
		for _, target := range s.placed(g) {
			for _, one := range s.lenient(g, target) {
				op, _ := s.operation(one)
				if op.Sensitive && (best == nil || severer(op.Category, best.Category)) {
					best = &op
				}
			}
		}
	}
	return best
}

func (s *surface) lenient(g guess, t target) []reading {
	kind := kindJSON
	switch g.body.(type) {
	case nil:
		kind = kindNone
	case string:
		kind = kindText
	}
	readings, err := s.unfold(reading{method: g.method, target: t, body: body{kind, g.body}})
	if err != nil {
		return nil
	}
	return readings
}

// severer reports whether a category is told rather than another one.
func severer(a, b string) bool {
	order := []string{catalog.CredentialReset, catalog.AdminPrivilege, catalog.PermissionGrant, catalog.AccountCreation, catalog.SecurityConfig, catalog.Read}
	return slices.Index(order, a) < slices.Index(order, b)
}

// guesses are the request itself and, where it is a batch, its parts.
func (p *Parser) guesses(r Request, s *surface) []guess {
	path, query := plainest(r.Target)
	text := p.plainText(r)
	var out []guess
	for _, method := range likelyMethods(r) {
		out = append(out, guess{method, path, query, looseBody(text)})
	}
	if s.sem.Batch == "" || !strings.HasSuffix(strings.ToLower(path), strings.ToLower(s.sem.Batch[strings.LastIndexByte(s.sem.Batch, '/')+1:])) {
		return out
	}
	out = append(out, looseParts(looseBody(text), s)...)
	for _, m := range requestLine.FindAllStringSubmatch(text, maxGuesses) {
		path, query := plainest(m[2])
		out = append(out, guess{m[1], path, query, text})
	}
	return out
}

// requestLine finds the requests of a multipart batch.
var requestLine = regexp.MustCompile(`(?m)^(POST|PUT|PATCH|DELETE|MERGE) (\S+) HTTP/`)

// looseParts finds parts of a batch wherever they stand, by their method and URL.
func looseParts(v any, s *surface) []guess {
	var out []guess
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, method := range texts(s.member(v, s.partName("method"))) {
				for _, target := range texts(s.member(v, "url")) {
					if len(out) < maxGuesses {
						path, query := plainest(target)
						out = append(out, guess{likely(method), path, query, s.member(v, s.partName("body"))})
					}
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return out
}

// texts are the strings that stand at one place: several, where a key stands twice.
func texts(v any) []string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, e := range list {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// likelyMethods are the request's own method and every one that it names elsewhere.
func likelyMethods(r Request) []string {
	out := []string{likely(r.Method)}
	for name, values := range r.Header {
		if overridesMethod(strings.ToLower(name)) {
			for _, v := range values {
				out = append(out, likely(v))
			}
		}
	}
	_, query := plainest(r.Target)
	if pairs, err := url.ParseQuery(query); err == nil {
		for name, values := range pairs {
			if overridesMethod(name) {
				for _, v := range values {
					out = append(out, likely(v))
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func likely(method string) string {
	method = strings.ToUpper(strings.TrimSpace(method))
	if method == "MERGE" {
		return "PATCH"
	}
	return method
}

// plainest takes every disguise off a target that some server takes off.
func plainest(raw string) (path, query string) {
	raw, _, _ = strings.Cut(raw, "#")
	if _, rest, ok := strings.Cut(raw, "://"); ok && !strings.HasPrefix(raw, "/") {
		_, rest, _ = strings.Cut(rest, "/")
		raw = "/" + rest
	}
	path, query, _ = strings.Cut(raw, "?")
	for range 3 {
		once, err := url.PathUnescape(path)
		if err != nil || once == path {
			break
		}
		path = once
	}
	path, more, _ := strings.Cut(strings.ReplaceAll(norm.NFKC.String(path), `\`, "/"), "?")
	if query == "" {
		query = more
	}
	var out []string
	for seg := range strings.SplitSeq(path, "/") {
		seg, _, _ = strings.Cut(seg, ";")
		seg = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, seg)
		switch trimmed := strings.TrimRight(strings.TrimSpace(seg), ". "); {
		case strings.TrimSpace(seg) == ".." && len(out) > 0:
			out = out[:len(out)-1]
		case trimmed != "":
			out = append(out, url.PathEscape(trimmed))
		}
	}
	return "/" + strings.Join(out, "/"), query
}

// placed are the targets that a path may be: as it stands, under another version, without one, with and without its query.
func (s *surface) placed(g guess) []target {
	first, rest, _ := strings.Cut(strings.TrimPrefix(g.path, "/"), "/")
	paths := []string{g.path}
	if len(s.sem.Versions) > 0 {
		paths = append(paths, "/"+s.sem.Versions[0]+"/"+rest, "/"+s.sem.Versions[0]+"/"+first+"/"+rest, "/"+rest)
	}
	var out []target
	for _, path := range paths {
		for _, query := range []string{"?" + g.query, ""} {
			if t, err := readTarget(strings.TrimSuffix(path, "/")+query, &s.sem, false); err == nil && len(t.segments) > 0 {
				out = append(out, t)
				break
			}
		}
	}
	return out
}
