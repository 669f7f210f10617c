package duo

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"countersign/providers"
)

const (
	maxTitle = 60    // runes of the heading; the whole title is in the list below it when it is longer
	maxName  = 60    // runes of a line's name
	maxValue = 600   // runes of a line's value
	maxInfo  = 19000 // bytes of pushinfo; Duo takes less than 20,000
)

const shortened = "… (shortened)"

// render writes a challenge as Duo shows it: a heading, and lines of name and value in their order. What does not fit is
// said not to fit, so that nobody approves more than they could read.
func render(c providers.Challenge) (title, info string) {
	full := clean(c.Title, maxValue)
	title = full
	lines := make([]providers.Field, 0, len(c.Fields)+3)
	if runes := []rune(full); len(runes) > maxTitle {
		title = strings.TrimSpace(string(runes[:maxTitle-1])) + "…"
		lines = append(lines, providers.Field{Name: "Request", Value: full})
	}
	if c.Code != "" {
		lines = append(lines, providers.Field{Name: "Code", Value: c.Code})
	}
	referred := c.HoldID == ""
	for _, f := range c.Fields {
		if f.Name != "" || f.Value != "" {
			lines = append(lines, f)
		}
		referred = referred || f.Name == "Reference"
	}
	if !referred {
		lines = append(lines, providers.Field{Name: "Reference", Value: c.HoldID})
	}
	var b strings.Builder
	for i, f := range lines {
		p := pair(f)
		if b.Len()+len(p)+1 > maxInfo {
			writePair(&b, pair(providers.Field{Name: "Not shown", Value: fmt.Sprintf("%d more lines do not fit", len(lines)-i)}))
			break
		}
		writePair(&b, p)
	}
	return title, b.String()
}

func writePair(b *strings.Builder, p string) {
	if b.Len() > 0 {
		b.WriteByte('&')
	}
	b.WriteString(p)
}

func pair(f providers.Field) string {
	name := clean(f.Name, maxName)
	if name == "" {
		name = "Detail"
	}
	return escape(name) + "=" + escape(clean(f.Value, maxValue))
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// clean makes a text show as it is: one line, no characters that hide, reorder or overprint others (each is replaced
// by a visible mark), at most limit runes, and a note when it was longer.
func clean(s string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		if unicode.IsSpace(r) {
			space = n > 0
			continue
		}
		if space {
			b.WriteByte(' ')
			n, space = n+1, false
		}
		if n >= limit {
			return truncate(b.String(), limit)
		}
		if hidden(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

func truncate(s string, limit int) string {
	runes := []rune(s)
	return strings.TrimSpace(string(runes[:min(len(runes), limit-len([]rune(shortened)))])) + shortened
}

// hidden says whether a character shows nothing or changes how others show: controls, bidirectional marks, zero-width
// and variation characters, fillers that are letters by name only, and enclosing marks, which overprint.
func hidden(r rune) bool {
	return !unicode.IsPrint(r) || r == 0x2800 ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Me)
}
