package hold

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"countersign/policy"
	"countersign/providers"
)

const (
	maxTitle      = 160
	maxFieldValue = 240
	maxDetail     = 120
	maxOperations = 5
	shortID       = 8
	cut           = "… [shortened]"
)

// challenge renders what the person is shown, from nothing but what the record holds: the bytes that were classified.
func challenge(r Record, user providers.Person, expires time.Time) providers.Challenge {
	c := providers.Challenge{
		HoldID:    string(r.ID),
		Person:    user,
		Title:     clean(r.Summary, maxTitle),
		ExpiresAt: expires,
		Needs:     r.Requirement.Capabilities,
		Prefers:   r.Requirement.Prefer,
	}
	add := func(name, value string) {
		if value = clean(value, maxFieldValue); value != "" {
			c.Fields = append(c.Fields, providers.Field{Name: name, Value: value})
		}
	}
	shown := r.Operations[:min(len(r.Operations), maxOperations)]
	for i, op := range shown {
		name := "Operation"
		if len(r.Operations) > 1 {
			name = fmt.Sprintf("Operation %d of %d", i+1, len(r.Operations))
		}
		add(name, describe(op))
	}
	if more := len(r.Operations) - len(shown); more > 0 {
		add("Not shown", fmt.Sprintf("%d more operations", more))
	}
	add("Target", targets(shown))
	add("Ticket", r.Subject.Ticket)
	add("Agent", r.Subject.Agent)
	add("Reference", string(r.ID)[:min(len(r.ID), shortID)])
	add("Expires", expires.UTC().Format("15:04:05 MST"))
	return c
}

func describe(op policy.Operation) string {
	if op.Summary != "" {
		return op.Summary
	}
	if op.Name != "" {
		return op.Name
	}
	return "An operation that the catalog does not know"
}

func targets(ops []policy.Operation) string {
	var ids []string
	for _, op := range ops {
		if id := op.Resource.ID; id != "" {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, ", ")
}

// clean makes s safe to show on one line of a phone: no control, bidirectional or invisible characters, which could make
// it read as something else, and at most most characters; what does not fit says so.
func clean(s string, most int) string {
	var b strings.Builder
	n, space := 0, true // leading space is dropped
	for _, c := range s {
		switch {
		case c == utf8.RuneError:
			c = '\uFFFD'
		case unicode.IsSpace(c):
			if space {
				continue
			}
			c = ' '
		case !unicode.IsGraphic(c):
			c = '\uFFFD' // replaced, not dropped: that something was there must show
		}
		space = c == ' '
		if n++; n > most {
			return fit(b.String(), most)
		}
		b.WriteRune(c)
	}
	return strings.TrimRight(b.String(), " ")
}

// fit shortens what is already clean so that it and the note that it was cut have most characters.
func fit(done string, most int) string {
	runes := []rune(done)
	room := max(most-utf8.RuneCountInString(cut), 0)
	return strings.TrimRight(string(runes[:min(len(runes), room)]), " ") + cut
}
