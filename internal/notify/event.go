package notify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is what happened, by the names of CloudEvents' type attribute.
type Type string

// The types of events.
const (
	HoldStarted         Type = "hold.started"      // a person is about to be asked
	HoldPrompted        Type = "hold.prompted"     // they were asked, and need a page or a code to answer
	HoldApproved        Type = "hold.approved"     // they said yes
	HoldDenied          Type = "hold.denied"       // they said no
	HoldTimedOut        Type = "hold.timed_out"    // they did not answer
	HoldFraud           Type = "hold.fraud"        // they said that they did not ask for it
	HoldNotEnrolled     Type = "hold.not_enrolled" // they have nothing to answer with
	HoldLockedOut       Type = "hold.locked_out"   // the provider does not let them answer
	HoldUnavailable     Type = "hold.unavailable"  // the provider failed, or said something unknown
	HoldWithdrawn       Type = "hold.withdrawn"    // an operator or a stop ended it
	HoldExpired         Type = "hold.expired"      // approved, never redeemed
	HoldSpent           Type = "hold.spent"        // approved and sent on
	EscalationRequested Type = "escalation.requested"
)

// Types lists every type of event.
func Types() []Type {
	return []Type{
		HoldStarted, HoldPrompted, HoldApproved, HoldDenied, HoldTimedOut, HoldFraud, HoldNotEnrolled, HoldLockedOut,
		HoldUnavailable, HoldWithdrawn, HoldExpired, HoldSpent, EscalationRequested,
	}
}

// Event is one thing that happened to a hold. Nothing in it may be a secret but Code, which goes to sinks that ask for
// codes, and never to the disk. Text from requests is taken as hostile: control and formatting characters are removed, long
// text is cut, and every sink escapes what is left.
type Event struct {
	ID   string    `json:"id"` // unique, and the same each time it is told; "": made from hold, type, provider and state
	Type Type      `json:"type"`
	Time time.Time `json:"time"` // zero: now

	Hold      string    `json:"hold,omitempty"`
	State     string    `json:"state,omitempty"`  // of the hold, in snake case: why an escalation is requested
	Reason    string    `json:"reason,omitempty"` // a code or the provider's own word
	Requester string    `json:"requester,omitempty"`
	Ticket    string    `json:"ticket,omitempty"`
	Agent     string    `json:"agent,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	Provider  string    `json:"provider,omitempty"`
	API       string    `json:"api,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Category  string    `json:"category,omitempty"`
	Summary   string    `json:"summary,omitempty"` // what is to be done, in plain words
	OpenedAt  time.Time `json:"opened_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Advice    string    `json:"advice,omitempty"` // what a technician should do; "": what this package knows
	URL       string    `json:"url,omitempty"`    // page where the person answers
	Code      string    `json:"-"`                // never written down
}

const (
	maxField = 300 // runes
	maxText  = 1000
	maxURL   = 2048
)

// complete fills what may be left out and cuts what is too long.
func (e *Event) complete() error {
	if !slices.Contains(Types(), e.Type) {
		return fmt.Errorf("unknown type %q", string(e.Type))
	}
	for _, f := range []*string{
		&e.Hold, &e.State, &e.Reason, &e.Requester, &e.Ticket, &e.Agent, &e.Channel, &e.Provider, &e.API, &e.Operation,
		&e.Category, &e.Code,
	} {
		*f = clean(*f, maxField)
	}
	e.Summary, e.Advice = clean(e.Summary, maxText), clean(e.Advice, maxText)
	if len(e.URL) > maxURL || !isWebURL(e.URL) {
		e.URL = ""
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	if e.ID == "" {
		e.ID = e.derivedID()
	}
	if len(e.ID) > 100 || strings.ContainsFunc(e.ID, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }) {
		// Standard Webhooks signs id, time and body joined by full stops.
		return fmt.Errorf("malformed event id in a %s event", e.Type)
	}
	if e.Advice == "" {
		e.Advice = advice(*e)
	}
	return nil
}

// derivedID is the same for the same thing happening to the same hold, so that a replica, or a sidecar that tells it again
// after a crash, tells one event and not two. The code is no part of it: six digits can be found from a hash.
func (e *Event) derivedID() string {
	if e.Hold == "" {
		return "evt_" + strings.ToLower(rand.Text())
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Hold, string(e.Type), e.Provider, e.State, e.URL}, "\x00")))
	return "evt_" + hex.EncodeToString(sum[:16])
}

func (e *Event) attrs() []any {
	return []any{slog.String("event", string(e.Type)), slog.String("id", e.ID), slog.String("hold", e.Hold)}
}

// asks reports whether the event is only of use while the hold is pending.
func (e *Event) asks() bool { return e.Type == HoldStarted || e.Type == HoldPrompted }

// clean makes one line of s that holds nothing but what can be seen.
func clean(s string, limit int) string {
	var b strings.Builder
	n, gap := 0, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			gap = n > 0
			continue
		case r == utf8.RuneError, !unicode.IsGraphic(r):
			continue // controls, zero-width and direction marks
		}
		if gap {
			b.WriteByte(' ')
			n, gap = n+1, false
		}
		if n >= limit {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
