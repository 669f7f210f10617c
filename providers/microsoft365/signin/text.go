package signin

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const cut = "… [shortened]"

// clean makes s safe to show on one line: no control, bidirectional or invisible characters, which could make it read as
// something else, and most characters at most. What does not fit says so.
func clean(s string, most int) string {
	var b strings.Builder
	n, space := 0, true // leading space is dropped
	for _, c := range s {
		switch {
		case unicode.IsSpace(c):
			if space {
				continue
			}
			c = ' '
		case !unicode.IsGraphic(c), c == utf8.RuneError:
			c = utf8.RuneError // replaced, not dropped: that something was there must show
		}
		space = c == ' '
		if n++; n > most {
			runes := []rune(b.String())
			room := max(most-utf8.RuneCountInString(cut), 0)
			return strings.TrimRight(string(runes[:min(len(runes), room)]), " ") + cut
		}
		b.WriteRune(c)
	}
	return strings.TrimRight(b.String(), " ")
}

// short is as much of a hold's id as pages and logs show.
func short(hold string) string { return clean(hold[:min(len(hold), 8)], 8) }
