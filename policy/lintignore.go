package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// ignoreMark begins a comment that silences findings: # countersign:ignore=id,id reason.
const ignoreMark = "countersign:ignore"

// ignore is such a comment.
type ignore struct {
	at          *ast.Location
	ids         []string
	first, last int // lines that it is about
	used        bool
}

func (g *ignore) covers(f Finding) bool {
	if !slices.Contains(g.ids, f.ID) {
		return false
	}
	return f.ID == "format" || f.Line >= g.first && f.Line <= g.last
}

// ignoresOf reads the comments of a module. One that names nothing, or gives no reason, is a finding and silences nothing.
func (l *linter) ignoresOf(f *lintFile) (out []*ignore) {
	for _, c := range f.module.Comments {
		rest, ok := strings.CutPrefix(strings.TrimSpace(string(c.Text)), ignoreMark)
		if !ok {
			continue
		}
		list, reason, _ := strings.Cut(rest, " ")
		list, ok = strings.CutPrefix(list, "=")
		g := &ignore{at: c.Location, ids: strings.Split(list, ",")}
		for _, id := range g.ids {
			rule, known := lintRules[id]
			if ok = ok && known && !rule.Fixed && id != "ignore"; !ok {
				l.say(c.Location, "ignore", "%q cannot be silenced: write # %s=ID REASON with an id from countersign policy lint --rules.", id, ignoreMark)
				break
			}
		}
		switch {
		case !ok:
		case strings.TrimSpace(reason) == "":
			l.say(c.Location, "ignore", "No reason: write # %s=%s and why the rule is right as it is.", ignoreMark, list)
		default:
			g.first, g.last = f.reach(c.Location)
			out = append(out, g)
		}
	}
	return out
}

// reach says which lines a comment is about: its own where it stands behind code, otherwise the next that is no comment,
// and where a rule begins there, all of that rule.
func (f *lintFile) reach(at *ast.Location) (first, last int) {
	lines := strings.Split(string(f.body), "\n")
	row := at.Row
	if before := lines[row-1]; strings.TrimSpace(before[:min(at.Col-1, len(before))]) != "" {
		return row, row
	}
	for row < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[row]), "#") {
		row++
	}
	row++
	for _, r := range f.module.Rules {
		if r.Location.Row == row {
			return row, row + strings.Count(strings.TrimRight(string(r.Location.Text), "\n"), "\n")
		}
	}
	return row, row
}

// silence leaves out what comments ask to leave out, and tells of comments that silence nothing.
func (l *linter) silence(n *int) []Finding {
	var out []Finding
	for _, f := range l.found {
		if l.silenced(f) {
			*n++
			continue
		}
		out = append(out, f)
	}
	if l.compiled == nil { // some rules had nothing to look at
		return out
	}
	l.found = nil
	for _, f := range l.files {
		for _, g := range f.ignores {
			if !g.used {
				l.say(g.at, "ignore", "Nothing to silence here: take the comment out.")
			}
		}
	}
	return append(out, l.found...)
}

func (l *linter) silenced(found Finding) bool {
	if lintRules[found.ID].Fixed {
		return false
	}
	for _, f := range l.files {
		if f.file != found.File {
			continue
		}
		for _, g := range f.ignores {
			if g.covers(found) {
				g.used = true
				return true
			}
		}
	}
	return false
}
