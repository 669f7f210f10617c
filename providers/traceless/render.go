package traceless

import (
	"fmt"
	"strings"
	"unicode"

	"countersign/providers"
)

const (
	maxTitle   = 120  // runes of {title}
	maxName    = 60   // runes of a line's name
	maxValue   = 300  // runes of a line's value
	maxMessage = 1500 // runes of {message}
)

const shortened = "… (shortened)"

// render writes a challenge as plain lines: the title, and what is being approved. What does not fit is said not to
// fit, so that nobody approves more than they could read.
func render(c providers.Challenge) (title, text string) {
	title = clean(c.Title, maxTitle)
	lines := make([]string, 0, len(c.Fields)+3)
	if full := clean(c.Title, maxValue); full != "" {
		lines = append(lines, full)
	}
	if c.Code != "" {
		lines = append(lines, "Code: "+clean(c.Code, maxName))
	}
	referred := c.HoldID == ""
	for _, f := range c.Fields {
		if f.Name == "" && f.Value == "" {
			continue
		}
		name := clean(f.Name, maxName)
		if name == "" {
			name = "Detail"
		}
		lines = append(lines, name+": "+clean(f.Value, maxValue))
		referred = referred || f.Name == "Reference"
	}
	if !referred {
		lines = append(lines, "Reference: "+clean(c.HoldID, maxName))
	}
	return title, join(lines)
}

func join(lines []string) string {
	var b strings.Builder
	n := 0
	for i, l := range lines {
		size := len([]rune(l)) + 1
		if n+size > maxMessage {
			fmt.Fprintf(&b, "Not shown: %d more lines do not fit", len(lines)-i)
			return b.String()
		}
		b.WriteString(l)
		b.WriteByte('\n')
		n += size
	}
	return strings.TrimSuffix(b.String(), "\n")
}

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
			runes := []rune(b.String())
			return strings.TrimSpace(string(runes[:min(len(runes), limit-len([]rune(shortened)))])) + shortened
		}
		if hidden(r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// hidden says whether a character shows nothing or changes how others show: controls, bidirectional marks, zero-width
// and variation characters, fillers that are letters by name only, and enclosing marks, which overprint.
func hidden(r rune) bool {
	return !unicode.IsPrint(r) || r == 0x2800 ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Me)
}
