package notify

import (
	"strings"
	"time"
)

// row is one labelled value of a message. Values may come from a request; labels are ours.
type row struct{ Label, Value string }

// rowsOf lists what a technician is shown of an event, in order.
func rowsOf(e Event) []row {
	all := []row{
		{"Operation", e.Summary},
		{"Requester", e.Requester},
		{"Ticket", e.Ticket},
		{"Agent", e.Agent},
		{"Asked through", e.Provider},
		{"Reason", e.Reason},
	}
	if e.asks() && !e.ExpiresAt.IsZero() {
		all = append(all, row{"Ends at", clock(e.ExpiresAt)})
	}
	all = append(all, row{"Hold", e.Hold})
	rows := all[:0]
	for _, r := range all {
		if r.Value != "" {
			rows = append(rows, r)
		}
	}
	return rows
}

func clock(t time.Time) string { return t.UTC().Format("15:04 MST, 2 January 2006") }

// plain leaves text as it is, for sinks that show it as it is.
func plain(s string) string { return s }

// noteText is the note for technicians. Every value passes escape.
func noteText(e Event, escape func(string) string) string {
	var b strings.Builder
	b.WriteString("Countersign: " + escape(headline(e)) + ".\n")
	for _, r := range rowsOf(e) {
		b.WriteString(r.Label + ": " + escape(r.Value) + "\n")
	}
	if e.Code != "" {
		b.WriteString("Code to enter on the phone: " + escape(e.Code) + "\n")
	}
	if e.URL != "" {
		b.WriteString("Page for the requester: " + escape(e.URL) + "\n")
	}
	if e.Advice != "" {
		b.WriteString("What to do: " + escape(e.Advice) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
