package operation

import (
	"strings"
	"unicode"

	"countersign/policy"
)

// maxLine bounds a sentence shown to a person, in runes.
const maxLine = 256

// describe gives an operation the sentences that the catalog did not: method, host and the end of the path. Query and
// body are never shown.
func describe(op *policy.Operation, host string, r reading) {
	if op.Summary != "" && op.Undone != "" {
		return
	}
	s := r.places()
	tail := ""
	if len(s) > 3 {
		tail, s = "/…", s[len(s)-3:]
	}
	where := host + tail + "/" + strings.Join(s, "/")
	if op.Summary == "" {
		op.Summary = plain(r.method + " " + where)
	}
	if op.Undone == "" {
		op.Undone = plain("The request " + r.method + " " + where + " was not sent on")
	}
}

// plain makes text safe to stand in front of a person: one line, nothing invisible, nothing that turns the direction
// of writing, cut with a mark.
func plain(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n == maxLine {
			b.WriteRune('…')
			break
		}
		switch {
		case unicode.IsSpace(r) && !unicode.IsControl(r) && !unicode.In(r, unicode.Zl, unicode.Zp):
			b.WriteByte(' ')
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteRune(unicode.ReplacementChar)
		}
	}
	return b.String()
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) < maxLine
}
