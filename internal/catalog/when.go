package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// condition is one test on the body or the query; an entry's conditions hold together. A body that could not be read
// into properties satisfies Has and Is of a sensitive entry and never Only: what is not seen is not ordinary.
type condition struct {
	Has   []string            `json:"has"`        // one of these body paths is there
	Only  []string            `json:"only"`       // an object, not empty, whose properties are all in this list
	Is    map[string][]string `json:"is"`         // one of these body paths has one of these values
	All   map[string][]string `json:"all"`        // these body paths are there and every value has one of these values
	Query map[string][]string `json:"query"`      // one of these query parameters has one of these words, or is there at all: "*"
	Head  map[string][]string `json:"header"`     // one of these header fields has one of these values, or is there at all: "*"
	Asks  []string            `json:"query_only"` // every query parameter is one of these; none at all is good
	Bound bool                `json:"bound"`      // somewhere in the body a relation is written: x@odata.bind, @odata.id, @removed
	Not   *condition          `json:"not"`

	Fields map[string][]string `json:"fields"` // at these body paths are objects that have nothing but these properties
	Text   []string            `json:"text"`   // the body is text, as XML is, and has one of these words in whatever case

	has             []bodyPath
	is, all, fields []valueTest
}

type valueTest struct {
	path   bodyPath
	values []string // lower case; a leading or trailing * stands for anything
}

func (c *condition) compile() error {
	kinds := 0
	for _, set := range []bool{len(c.Has) > 0, len(c.Only) > 0, len(c.Is) > 0, len(c.All) > 0, len(c.Query) > 0, len(c.Head) > 0, len(c.Asks) > 0, c.Bound, c.Not != nil, len(c.Fields) > 0, len(c.Text) > 0} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return errors.New("when: a condition is exactly one of has, only, is, all, query, query_only, header, bound, not, fields, text")
	}
	for _, s := range c.Has {
		p, err := parseBodyPath(s)
		if err != nil {
			return err
		}
		c.has = append(c.has, p)
	}
	var err error
	if c.is, err = valueTests(c.Is); err != nil {
		return err
	}
	if c.all, err = valueTests(c.All); err != nil {
		return err
	}
	if c.fields, err = valueTests(c.Fields); err != nil {
		return err
	}
	if c.Not != nil {
		return c.Not.compile()
	}
	return nil
}

func valueTests(want map[string][]string) ([]valueTest, error) {
	var out []valueTest
	for s, values := range want {
		p, err := parseBodyPath(s)
		if err != nil {
			return nil, err
		}
		t := valueTest{path: p}
		for _, v := range values {
			t.values = append(t.values, strings.ToLower(v))
		}
		out = append(out, t)
	}
	return out, nil
}

// holds judges one condition. doubt is the answer where the body is there and has no properties that can be read.
func (c *condition) holds(call *Call, fold, doubt bool) bool {
	switch {
	case c.Not != nil:
		return !c.Not.holds(call, fold, !doubt)
	case len(c.Query) > 0:
		return queryHas(call.Query, c.Query, fold)
	case len(c.Asks) > 0:
		return !queryExceeds(call.Query, c.Asks, fold)
	case len(c.Head) > 0:
		return headerHas(call.Headers, c.Head)
	case len(c.Text) > 0:
		return textHas(call.Body, c.Text)
	case call.Body == nil && call.BodyKind != "binary": // octets are there and were not read
		return false
	case !structured(call.Body):
		return doubt
	case len(c.has) > 0:
		return slices.ContainsFunc(c.has, func(p bodyPath) bool { return p.found(call.Body, fold, anything) })
	case len(c.is) > 0:
		return slices.ContainsFunc(c.is, func(t valueTest) bool { return t.path.found(call.Body, fold, t.match) })
	case len(c.all) > 0:
		return !slices.ContainsFunc(c.all, func(t valueTest) bool { return !t.every(call.Body, fold) })
	case len(c.fields) > 0:
		return withinFields(c.fields, call.Body, fold)
	case c.Bound:
		return bound(call.Body)
	case len(c.Only) > 0:
		return only(call.Body, c.Only, fold)
	default:
		return doubt
	}
}

func structured(body any) bool {
	switch body.(type) {
	case map[string]any, []any:
		return true
	default:
		return false
	}
}

func anything(any) bool { return true }

// match reports whether the value, or one in the list that it is, is wanted.
func (t valueTest) match(v any) bool {
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, t.match)
	}
	s := strings.ToLower(scalar(v))
	return slices.ContainsFunc(t.values, func(want string) bool { return wild(want, s) })
}

// every reports whether there is a value and all of them match.
func (t valueTest) every(body any, fold bool) bool {
	return t.path.found(body, fold, anything) && !t.path.found(body, fold, t.misses)
}

func (t valueTest) misses(v any) bool {
	if list, ok := v.([]any); ok {
		return len(list) == 0 || slices.ContainsFunc(list, t.misses)
	}
	return !t.match(v)
}

// wild compares with a * at either end of the pattern.
func wild(pattern, s string) bool {
	head, front := strings.CutPrefix(pattern, "*")
	mid, back := strings.CutSuffix(head, "*")
	switch {
	case front && back:
		return strings.Contains(s, mid)
	case front:
		return strings.HasSuffix(s, mid)
	case back:
		return strings.HasPrefix(s, mid)
	default:
		return s == pattern
	}
}

// scalar is the text of a JSON value; a list or object has none.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "null"
	case map[string]any, []any:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

func bound(body any) bool {
	switch b := body.(type) {
	case map[string]any:
		for k, v := range b {
			low := strings.ToLower(k)
			if strings.HasSuffix(low, "@odata.bind") || low == "@odata.id" || low == "@removed" || low == "@id" ||
				strings.HasSuffix(low, "@delta") || strings.HasSuffix(low, "@odata.delta") || bound(v) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(b, bound)
	}
	return false
}

// sameName folds case by Unicode, which is wider than any server's folding: a name is rather taken for a known one.
func sameName(a, b string, fold bool) bool {
	return a == b || fold && strings.EqualFold(a, b)
}

// bodyPath leads to values in a body: names, "*" for any key or element (also at either end of a name), "**" for any depth. Lists are walked
// through where a name is wanted, so that [{"password": …}] is found like {"password": …}.
type bodyPath []string

func parseBodyPath(s string) (bodyPath, error) {
	if s == "" || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//") {
		return nil, fmt.Errorf("body path %q is not name/name", s)
	}
	p := strings.Split(s, "/")
	if i := slices.Index(p, "**"); i > 0 || len(p) > 1 && slices.Contains(p[1:], "**") || s == "**" {
		return nil, fmt.Errorf("body path %q: ** stands first, before a name", s)
	}
	return p, nil
}

// found reports whether some value at the path is what ok wants.
func (p bodyPath) found(body any, fold bool, ok func(any) bool) bool {
	hit := false
	p.each(body, fold, nil, func(_ []string, v any) bool {
		hit = ok(v)
		return !hit
	})
	return hit
}

// each visits the values at the path, with the keys that lead there in the body's own spelling ("*" for an element),
// until visit returns false. The keys are only good during the visit: siblings share their space.
func (p bodyPath) each(v any, fold bool, at []string, visit func([]string, any) bool) bool {
	if len(p) == 0 {
		return visit(at, v)
	}
	deep := p[0] == "**"
	switch v := v.(type) {
	case map[string]any:
		for k, child := range v {
			here := append(at, k)
			if deep && !p.each(child, fold, here, visit) {
				return false
			}
			want := p
			if deep {
				want = p[1:]
			}
			if keyMatches(want[0], k, fold) && !want[1:].each(child, fold, here, visit) {
				return false
			}
		}
	case []any:
		for _, child := range v {
			if !p.each(child, fold, append(at, "*"), visit) {
				return false
			}
		}
	}
	return true
}

func keyMatches(want, key string, fold bool) bool {
	switch {
	case sameName(want, key, fold):
		return true
	case !strings.Contains(want, "*"):
		return false
	case fold:
		return wild(strings.ToLower(want), strings.ToLower(key))
	default:
		return wild(want, key)
	}
}
