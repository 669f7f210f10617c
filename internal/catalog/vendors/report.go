package vendors

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// Count returns how many findings there are of a kind.
func (r Report) Count(kind string) int {
	n := 0
	for _, f := range r.Findings {
		if f.Kind == kind {
			n++
		}
	}
	return n
}

// Alarming returns how many new operations look sensitive.
func (r Report) Alarming() int {
	n := 0
	for _, f := range r.Findings {
		if f.Kind == New && f.Looks != "" {
			n++
		}
	}
	return n
}

var headings = map[string]string{
	New:       "New: the catalog has no entry; writes are held as unlisted",
	Disagrees: "Disagrees: the vendor marks it otherwise than the catalog",
	Vanished:  "Vanished: the catalog has an entry, the description no operation",
	Unread:    "Unread: no request of this form is read; it is refused",
}

// WriteTable writes the findings for people, by kind and by prefix of their paths, and a summary line.
func (r Report) WriteTable(w io.Writer) error {
	out := bufio.NewWriter(w)
	kind, group := "", ""
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range r.Findings {
		if f.Kind != kind || f.Group != group {
			if err := table.Flush(); err != nil {
				return fmt.Errorf("write the table: %w", err)
			}
			if f.Kind != kind {
				fmt.Fprintln(out, headings[f.Kind])
			}
			kind, group = f.Kind, f.Group
			fmt.Fprintf(out, "  %s\n", clean(group))
		}
		fmt.Fprintln(table, "    "+strings.Join(f.cells(), "\t"))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	fmt.Fprintln(out, clean(r.summary()))
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// cells are a finding's columns: what it is, what the vendor says, what the catalog says.
func (f Finding) cells() []string {
	vendor := f.Level
	if vendor == "" && len(f.Scopes) > 0 {
		vendor = strings.Join(f.Scopes[:min(len(f.Scopes), 2)], " ")
		if len(f.Scopes) > 2 {
			vendor += fmt.Sprintf(" +%d", len(f.Scopes)-2)
		}
	}
	var last string
	switch f.Kind {
	case New:
		if f.Looks != "" {
			last = "! " + f.Looks
		}
	case Disagrees:
		last = fmt.Sprintf("%s (%s): %s, so rather %s", f.Entry, f.Category, f.Why, f.Want[0])
	case Vanished:
		last = fmt.Sprintf("%s (%s) in %s", f.Entry, f.Category, f.File)
	default:
		last = f.Why
	}
	if f.Deprecated {
		last = strings.TrimSpace(last + " (deprecated)")
	}
	out := []string{clean(f.Method), clean(f.Path)}
	if f.Kind != Vanished {
		out = append(out, clean(vendor))
	}
	return append(out, clean(last))
}

func (r Report) summary() string {
	name := strings.TrimSpace(r.Title + " " + r.Version)
	return fmt.Sprintf("%s against %s: %d operations, %d covered, %d ordinary reads, %d new (%d look sensitive), %d disagree, %d vanished, %d unread (%s)",
		name, r.API, r.Operations, r.Covered, r.Reads, r.Count(New), r.Alarming(), r.Count(Disagrees), r.Count(Vanished), r.Count(Unread), r.Format)
}

// WriteJSON writes a line for each finding, and a last one with the kind "summary".
func (r Report) WriteJSON(w io.Writer) error {
	out := bufio.NewWriter(w)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	for _, f := range r.Findings {
		if err := e.Encode(f); err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
	}
	err := e.Encode(struct {
		Kind string `json:"kind"`
		Report
		New       int `json:"new"`
		Alarming  int `json:"looks_sensitive"`
		Disagrees int `json:"disagrees"`
		Vanished  int `json:"vanished"`
		Unread    int `json:"unread"`
	}{"summary", r, r.Count(New), r.Alarming(), r.Count(Disagrees), r.Count(Vanished), r.Count(Unread)})
	if err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}

// clean keeps a vendor's text from speaking to the terminal, or from making columns of its own.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
