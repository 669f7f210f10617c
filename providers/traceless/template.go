package traceless

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Request is the template of one call. Placeholders are names in braces.
type Request struct {
	Method string
	// Path continues the endpoint, and may carry a query: /{organization}/mfa/{transaction}. Values are escaped.
	Path string
	// Body is JSON whose strings, but no names, may hold placeholders. "" is the default of the call; "-" is no body.
	Body string
}

// none, in place of a pointer or a body, says that there is none.
const none = "-"

// values fill placeholders.
type values map[string]string

// piece is literal text, or a placeholder's name.
type piece struct {
	text string
	name string
}

// template is text with placeholders.
type template []piece

// parseTemplate takes text apart. A brace has no other use than around a placeholder.
func parseTemplate(s string, known []string) (template, error) {
	var t template
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			return append(t, piece{text: s}), nil
		}
		if i > 0 {
			t = append(t, piece{text: s[:i]})
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			return nil, errors.New("a brace is not part of a {placeholder}")
		}
		name := s[i+1 : i+end]
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("{%.40s} is not known here: want one of {%s}", name, strings.Join(known, "}, {"))
		}
		t = append(t, piece{name: name})
		s = s[i+end+1:]
	}
	return t, nil
}

// fill writes the values in, once: a value that looks like a placeholder stays as it is.
func (t template) fill(v values, escape func(string) string) string {
	var b strings.Builder
	for _, p := range t {
		if p.name == "" {
			b.WriteString(p.text)
		} else {
			b.WriteString(escape(v[p.name]))
		}
	}
	return b.String()
}

func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return p.name == name })
}

// request is a parsed Request.
type request struct {
	method      string
	path, query template
	body        any // the JSON value, its strings as template; nil: none
	names       []string
}

var (
	methods   = []string{http.MethodGet, http.MethodPost, http.MethodPut}
	pathNames = []string{"organization", "transaction"}
	bodyNames = []string{"organization", "transaction", "email", "method", "message", "title", "code", "hold"}
)

func parseRequest(r Request) (request, error) {
	out := request{method: r.Method}
	if !slices.Contains(methods, r.Method) {
		return out, fmt.Errorf("method is %q: want one of %s", r.Method, strings.Join(methods, ", "))
	}
	path, query, hasQuery := strings.Cut(r.Path, "?")
	if err := checkPath(path, query); err != nil {
		return out, err
	}
	var err error
	if out.path, err = parseTemplate(path, pathNames); err != nil {
		return out, fmt.Errorf("path: %w", err)
	}
	if hasQuery {
		if out.query, err = parseTemplate(query, pathNames); err != nil {
			return out, fmt.Errorf("path: %w", err)
		}
	}
	if r.Body != none && r.Body != "" {
		doc, err := parseJSON([]byte(r.Body))
		if err != nil {
			return out, errors.New("body: not one JSON value, or a member is there twice")
		}
		if out.body, err = compile(doc, &out.names); err != nil {
			return out, fmt.Errorf("body: %w", err)
		}
	}
	if out.method == http.MethodGet && out.body != nil {
		return out, errors.New("body: GET has none")
	}
	return out, nil
}

func checkPath(path, query string) error {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`#\"<>^|`+"`", r) }
	if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, odd) || strings.ContainsFunc(query, odd) || strings.Contains(query, "?") {
		return errors.New("path: want something like /{organization}/mfa, escaped, with a query if need be")
	}
	bare := strings.NewReplacer("{", "", "}", "").Replace(path)
	if u, err := url.ParseRequestURI(bare); err != nil || strings.Contains(bare, "//") || u.EscapedPath() != bare {
		return errors.New("path: badly escaped, or a segment is empty")
	}
	decoded, err := url.PathUnescape(bare)
	if err != nil || slices.ContainsFunc(strings.Split(decoded, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return errors.New("path: . and .. cannot be segments")
	}
	return nil
}

// compile turns the strings of a JSON value into templates, and collects the placeholders.
func compile(v any, names *[]string) (any, error) {
	switch v := v.(type) {
	case string:
		t, err := parseTemplate(v, bodyNames)
		for _, p := range t {
			if p.name != "" {
				*names = append(*names, p.name)
			}
		}
		return t, err
	case map[string]any:
		for k, e := range v {
			if strings.ContainsAny(k, "{}") {
				return nil, fmt.Errorf("the name %.40q holds a brace: only values are filled", k)
			}
			c, err := compile(e, names)
			if err != nil {
				return nil, err
			}
			v[k] = c
		}
		return v, nil
	case []any:
		for i, e := range v {
			c, err := compile(e, names)
			if err != nil {
				return nil, err
			}
			v[i] = c
		}
		return v, nil
	default:
		return v, nil
	}
}

// uses says whether the request names a placeholder anywhere.
func (r request) uses(name string) bool {
	return r.path.has(name) || r.query.has(name) || slices.Contains(r.names, name)
}

// target returns path and query after the base path, escaped.
func (r request) target(v values) string {
	s := r.path.fill(v, url.PathEscape)
	if r.query != nil {
		s += "?" + r.query.fill(v, url.QueryEscape)
	}
	return s
}

// payload returns the body, encoded anew: a value can become nothing but the string it stands in.
func (r request) payload(v values) ([]byte, error) {
	if r.body == nil {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(expand(r.body, v)); err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func expand(v any, with values) any {
	switch v := v.(type) {
	case template:
		return v.fill(with, func(s string) string { return s })
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = expand(e, with)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = expand(e, with)
		}
		return out
	default:
		return v
	}
}
