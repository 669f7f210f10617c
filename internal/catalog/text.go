package catalog

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxValue bounds one value shown to a person, in runes.
const maxValue = 128

// template is a line with parameters: "Give {principal} the role {role}". {name|text} shows text where the call gives
// none, {a/b|text} the first one that the call gives.
type template []part

type part struct {
	text     string // literal text; with params, what stands for them when they are missing
	params   []string
	optional bool
}

func parseTemplate(s string) (template, error) {
	var t template
	for s != "" {
		before, after, found := strings.Cut(s, "{")
		if before != "" {
			t = append(t, part{text: before})
		}
		if !found {
			break
		}
		inner, tail, closed := strings.Cut(after, "}")
		name, instead, optional := strings.Cut(inner, "|")
		if !closed || name == "" || strings.ContainsAny(inner, "{}") {
			return nil, fmt.Errorf("template %q: want {name} or {name|text}", s)
		}
		if !optional {
			instead = "an unnamed " + strings.ReplaceAll(name, "_", " ")
		}
		t = append(t, part{text: instead, params: strings.Split(name, "/"), optional: optional})
		s = tail
	}
	return t, nil
}

// render puts cleaned values in. names gives what is shown for a value that is an id.
func (t template) render(params map[string]string, names map[string]map[string]string) string {
	var b strings.Builder
	for at, p := range t {
		i := slices.IndexFunc(p.params, func(name string) bool { return params[name] != "" })
		if i < 0 && at == 0 { // "An unnamed user was not invited"
			r, size := utf8.DecodeRuneInString(p.text)
			b.WriteRune(unicode.ToUpper(r))
			b.WriteString(p.text[size:])
			continue
		}
		if i < 0 {
			b.WriteString(p.text)
			continue
		}
		b.WriteString(clean(displayed(names[p.params[i]], params[p.params[i]])))
	}
	return strings.TrimSpace(b.String())
}

// displayed is what the table shows for an id, given alone or as an alternate key: roleTemplateId=ID.
func displayed(table map[string]string, v string) string {
	if name, ok := table[strings.ToLower(v)]; ok {
		return name
	}
	if _, id, ok := strings.Cut(v, "="); ok {
		if name, ok := table[strings.ToLower(id)]; ok {
			return name
		}
	}
	if name, ok := table[strings.ToLower(v[strings.LastIndexByte(v, '/')+1:])]; ok && strings.HasPrefix(v, "/") {
		return name // Azure writes an id with its whole path: /subscriptions/…/roleDefinitions/ID
	}
	return v
}

// clean makes a value of the request fit to stand in a sentence that a person decides by: one line, nothing invisible,
// no change of direction, and a mark where it was cut.
func clean(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == maxValue-1 && utf8.RuneCountInString(s) > maxValue {
			b.WriteRune('…')
			break
		}
		switch {
		case r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp), unicode.Is(unicode.Variation_Selector, r):
			b.WriteRune('\uFFFD') // shown, so that a name with something hidden in it does not look like the plain one
		case unicode.IsSpace(r):
			b.WriteRune(' ')
		default:
			b.WriteRune(r)
		}
		n++
	}
	return strings.TrimSpace(b.String())
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxValue
}

// reference reads the id out of what a relation is written with: …/directoryObjects/ID, …/users('ID'). Anything else in
// the URL makes it be shown whole, so that the shown id is the one that acts.
func reference(s string) string {
	if strings.ContainsAny(s, "?#%\\;") {
		return s
	}
	id := s[strings.LastIndex(s, "/")+1:]
	if _, inner, ok := strings.Cut(id, "("); ok && strings.HasSuffix(inner, ")") {
		return strings.Trim(inner[:len(inner)-1], "'")
	}
	if id == "" {
		return s
	}
	return id
}
