package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// oneOrMore reads a string or a list of strings.
type oneOrMore []string

// UnmarshalJSON accepts "x" and ["x", "y"].
func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*o = oneOrMore{one}
		return nil
	}
	var more []string
	if err := json.Unmarshal(b, &more); err != nil {
		return fmt.Errorf("want a string or a list of strings: %w", err)
	}
	*o = more
	return nil
}

type kind uint8

const (
	literal kind = iota
	prefix       // get*
	suffix       // {project}:setIamPolicy
	param        // {user}
	rest         // **: any number of segments, none included
)

type token struct {
	kind kind
	text string // lower case where the API folds
	name string // what the segment is captured as, if anything; the segments, of a rest
}

// pattern is a path of tokens. Patterns are compared by the calls they cover.
type pattern struct {
	text   string
	tokens []token
	rank   int // more literal, then more fixed segments, then no rest: a pattern inside another one never ranks below it
}

const maxRests = 3 // keeps the walk cubic in the depth of a path at worst, and in fact linear: what follows a ** is a name

// expand replaces a leading root and (a|b) alternatives by the paths they stand for.
func (a *API) expand(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		heads := []string{""}
		tail := p
		if strings.HasPrefix(p, "@") {
			root, after, _ := strings.Cut(p, "/")
			under, ok := a.roots[root]
			if !ok {
				return nil, fmt.Errorf("root %s is not defined", root)
			}
			var err error
			if heads, err = a.expand(under); err != nil {
				return nil, err
			}
			tail = ""
			if after != "" {
				tail = "/" + after
			}
		}
		tails, err := alternatives(tail)
		if err != nil {
			return nil, err
		}
		for _, h := range heads {
			for _, t := range tails {
				out = append(out, h+t)
			}
		}
	}
	return out, nil
}

func alternatives(p string) ([]string, error) {
	before, after, found := strings.Cut(p, "(")
	if !found {
		return []string{p}, nil
	}
	choice, after, found := strings.Cut(after, ")")
	if !found {
		return nil, fmt.Errorf("path %s: ( without )", p)
	}
	tails, err := alternatives(after)
	if err != nil {
		return nil, err
	}
	var out []string
	for c := range strings.SplitSeq(choice, "|") {
		for _, t := range tails {
			out = append(out, before+c+t)
		}
	}
	return out, nil
}

func parsePattern(s string, fold bool) (pattern, error) {
	p := pattern{text: s}
	if !strings.HasPrefix(s, "/") || s != "/" && strings.HasSuffix(s, "/") {
		return p, fmt.Errorf("path %q does not start with /, or ends with it", s)
	}
	if s == "/" {
		return p, nil
	}
	rests, literals, fixed := 0, 0, 0
	for seg := range strings.SplitSeq(s[1:], "/") {
		t, err := parseToken(seg, fold)
		if err != nil {
			return p, fmt.Errorf("path %s: %w", s, err)
		}
		switch t.kind {
		case rest:
			rests++
		case literal, prefix, suffix:
			literals++
			fixed++
		case param:
			fixed++
		}
		p.tokens = append(p.tokens, t)
	}
	if rests > maxRests {
		return p, fmt.Errorf("path %s: ** more than %d times", s, maxRests)
	}
	p.rank = literals<<16 | fixed<<8 | (maxRests - rests)
	return p, nil
}

func parseToken(seg string, fold bool) (token, error) {
	name := func(s string) string {
		if fold {
			return strings.ToLower(s)
		}
		return s
	}
	switch {
	case seg == "":
		return token{}, errors.New("empty segment")
	case seg == "**":
		return token{kind: rest}, nil
	case strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "...}") && !strings.ContainsAny(seg[1:len(seg)-4], "{}*=.") && len(seg) > 5:
		return token{kind: rest, name: seg[1 : len(seg)-4]}, nil
	case strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}"):
		as, text, fixed := strings.Cut(seg[1:len(seg)-1], "=")
		if as == "" || strings.ContainsAny(as, "{}*") || fixed && text == "" {
			return token{}, fmt.Errorf("%s is not {name} or {name=text}", seg)
		}
		if fixed {
			return token{kind: literal, text: name(text), name: as}, nil
		}
		return token{kind: param, name: as}, nil
	case strings.HasPrefix(seg, "{") && strings.Contains(seg, "}:"):
		// Google's custom methods stand in the segment of what they act on.
		as, text, _ := strings.Cut(seg[1:], "}")
		if as == "" || text == ":" || strings.ContainsAny(as+text, "{}*=()|") {
			return token{}, fmt.Errorf("%s is not {name}:text", seg)
		}
		return token{kind: suffix, text: name(text), name: as}, nil
	case strings.ContainsAny(seg, "{}()|"):
		return token{}, fmt.Errorf("%s mixes text and a parameter", seg)
	case strings.HasSuffix(seg, "*") && strings.Count(seg, "*") == 1:
		return token{kind: prefix, text: name(seg[:len(seg)-1])}, nil
	case strings.Contains(seg, "*"):
		return token{}, fmt.Errorf("%s: * stands at the end of a name only", seg)
	default:
		return token{kind: literal, text: name(seg)}, nil
	}
}

// covers reports whether every path that q matches is matched by p too. A case it is not sure of is false.
func (p pattern) covers(q pattern) bool { return coversTokens(p.tokens, q.tokens) }

func coversTokens(p, q []token) bool {
	if len(p) == 0 {
		return len(q) == 0
	}
	if p[0].kind == rest {
		return coversTokens(p[1:], q) || len(q) > 0 && coversTokens(p, q[1:])
	}
	if len(q) == 0 || q[0].kind == rest {
		return false
	}
	var one bool
	switch p[0].kind {
	case param:
		one = true
	case prefix:
		one = (q[0].kind == literal || q[0].kind == prefix) && strings.HasPrefix(q[0].text, p[0].text)
	case suffix:
		one = (q[0].kind == literal || q[0].kind == suffix) && strings.HasSuffix(q[0].text, p[0].text)
	case literal:
		one = q[0].kind == literal && q[0].text == p[0].text
	case rest:
	}
	return one && coversTokens(p[1:], q[1:])
}

// strictlyCovers reports whether p covers q and more.
func (p pattern) strictlyCovers(q pattern) bool { return p.covers(q) && !q.covers(p) }

// family reports whether the pattern ends in **: it speaks for paths that its author has not seen.
func (p pattern) family() bool { return len(p.tokens) > 0 && p.tokens[len(p.tokens)-1].kind == rest }

// literals reports whether some segment is a name.
func (p pattern) literals() bool {
	return slices.ContainsFunc(p.tokens, func(t token) bool { return t.kind == literal || t.kind == prefix || t.kind == suffix })
}

// capture returns the named segments of a path that the pattern matches; folded is what is compared.
func (p pattern) capture(segments, folded []string) map[string]string {
	out := map[string]string{}
	captureTokens(p.tokens, segments, folded, out)
	return out
}

func captureTokens(p []token, segments, folded []string, out map[string]string) bool {
	if len(p) == 0 {
		return len(segments) == 0
	}
	if p[0].kind == rest {
		for n := range len(segments) + 1 {
			if captureTokens(p[1:], segments[n:], folded[n:], out) {
				if p[0].name != "" {
					out[p[0].name] = "/" + strings.Join(segments[:n], "/")
				}
				return true
			}
		}
		return false
	}
	if len(segments) == 0 || !p[0].matches(folded[0]) || !captureTokens(p[1:], segments[1:], folded[1:], out) {
		return false
	}
	if p[0].name != "" {
		out[p[0].name] = segments[0]
		if p[0].kind == suffix {
			out[p[0].name] = segments[0][:max(0, len(segments[0])-len(p[0].text))]
		}
	}
	return true
}

func (t token) matches(folded string) bool {
	switch t.kind {
	case literal:
		return folded == t.text
	case prefix:
		return strings.HasPrefix(folded, t.text)
	case suffix:
		return strings.HasSuffix(folded, t.text)
	case param:
		return true
	case rest:
		return false
	default:
		return false
	}
}

// node is one place in the trie. A walk looks at one child per segment and kind, whatever the number of entries.
type node struct {
	literals map[string]*node
	prefixes []affixChild
	suffixes []affixChild
	param    *node
	rest     *node
	entries  []*entry
}

type affixChild struct {
	text string
	node *node
}

func (n *node) insert(e *entry) {
	for _, t := range e.pattern.tokens {
		n = n.child(t)
	}
	n.entries = append(n.entries, e)
}

func (n *node) child(t token) *node {
	switch t.kind {
	case literal:
		if n.literals == nil {
			n.literals = map[string]*node{}
		}
		if n.literals[t.text] == nil {
			n.literals[t.text] = &node{}
		}
		return n.literals[t.text]
	case prefix:
		return affix(&n.prefixes, t.text)
	case suffix:
		return affix(&n.suffixes, t.text)
	case rest:
		if n.rest == nil {
			n.rest = &node{}
		}
		return n.rest
	case param:
	}
	if n.param == nil {
		n.param = &node{}
	}
	return n.param
}

func affix(children *[]affixChild, text string) *node {
	i := slices.IndexFunc(*children, func(c affixChild) bool { return c.text == text })
	if i < 0 {
		i = len(*children)
		*children = append(*children, affixChild{text, &node{}})
	}
	return (*children)[i].node
}

// walk calls found with the entries of every pattern that matches the path.
func (n *node) walk(path []string, found func([]*entry)) {
	if n.rest != nil {
		for i := range len(path) + 1 {
			n.rest.walk(path[i:], found)
		}
	}
	if len(path) == 0 {
		if len(n.entries) > 0 {
			found(n.entries)
		}
		return
	}
	if c, ok := n.literals[path[0]]; ok {
		c.walk(path[1:], found)
	}
	for _, c := range n.prefixes {
		if strings.HasPrefix(path[0], c.text) {
			c.node.walk(path[1:], found)
		}
	}
	for _, c := range n.suffixes {
		if strings.HasSuffix(path[0], c.text) {
			c.node.walk(path[1:], found)
		}
	}
	if n.param != nil {
		n.param.walk(path[1:], found)
	}
}
