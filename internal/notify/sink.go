package notify

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"text/template"
	"time"
)

// Sink is one place that events are sent to.
type Sink struct {
	Name   string   // unique; in logs, metrics and the spool
	Type   string   // webhook, slack or teams
	URL    Secret   // https, or http on loopback. In the path of a webhook {ticket} is the ticket's id
	Events []string // types to send, as globs such as hold.* ; none: all of them

	Secrets []Secret // whsec_…: keys of Standard Webhooks, the newest first; only for webhooks

	Template string            // ticket system whose note is written; see Templates
	Body     string            // text/template of a JSON body of your own; only for webhooks
	Method   string            // "": POST, or what the template needs
	Headers  map[string]Secret // sent as they are

	Username string // Basic authentication
	Password Secret
	Bearer   Secret
	OAuth    OAuth // client credentials

	Codes  bool // sends the code of a verified push to this sink
	Public bool // writes to the employee instead of to technicians; only with Template

	RootCAs *x509.CertPool // nil: the system's
	Timeout time.Duration  // of one attempt; 0: 10s
}

// OAuth gets access tokens by the client credentials grant, with the client's secret in the form.
type OAuth struct {
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scope        string // separated by spaces
}

func (o OAuth) set() bool { return o != OAuth{} }

// compiled is a Sink that was found good.
type compiled struct {
	Sink
	url    *url.URL
	keys   [][]byte
	preset *preset
	body   *template.Template
	source string
	client *http.Client
	tokens *tokens // nil: no OAuth
}

const ticketPlaceholder = "{ticket}"

// ticketID is what may stand in a URL or name a record. A ticket's id comes with the request, so that it is no more trusted
// than the agent where assertions are not required.
var ticketID = regexp.MustCompile(`^[A-Za-z0-9#][A-Za-z0-9_.#-]{0,63}$`)

// wants reports whether the sink takes events of this type. What is written to the employee never asks for a technician.
func (c *compiled) wants(t Type) bool {
	if c.Public && t == EscalationRequested {
		return false
	}
	if len(c.Events) == 0 {
		return true
	}
	for _, glob := range c.Events {
		if ok, err := path.Match(glob, string(t)); ok && err == nil {
			return true
		}
	}
	return false
}

func (c *compiled) needsTicket() bool {
	return c.preset != nil || strings.Contains(c.url.Path, ticketPlaceholder)
}

// unfit says why this event cannot go to this sink at all; "" when it can.
func (c *compiled) unfit(e Event) string {
	if !c.needsTicket() {
		return ""
	}
	switch {
	case e.Ticket == "":
		return "it has no ticket"
	case !ticketID.MatchString(e.Ticket) || strings.Contains(e.Ticket, ".."):
		return "its ticket is no id that could stand in an address"
	case c.preset != nil && !c.preset.ticket.MatchString(e.Ticket):
		return "its ticket is not an id of " + c.Template
	}
	return ""
}

// address returns where this event goes.
func (c *compiled) address(e Event) string {
	if !strings.Contains(c.url.Path, ticketPlaceholder) {
		return c.url.String()
	}
	u := *c.url
	u.RawPath = strings.ReplaceAll(u.EscapedPath(), url.PathEscape(ticketPlaceholder), url.PathEscape(e.Ticket))
	u.Path = strings.ReplaceAll(u.Path, ticketPlaceholder, e.Ticket)
	return u.String()
}

// render returns the body for this event and its content type.
func (c *compiled) render(e Event) (body []byte, contentType string, err error) {
	if !c.Codes {
		e.Code = ""
	}
	contentType = "application/json"
	switch {
	case c.body != nil:
		body, err = renderTemplate(c.body, e)
	case c.preset != nil:
		body, err = encode(c.preset.note(e, c.Public))
	case c.Type == "slack":
		body, err = encode(slackMessage(e))
	case c.Type == "teams":
		body, err = encode(teamsMessage(e))
	default:
		contentType = "application/cloudevents+json; charset=utf-8"
		body, err = renderCloudEvent(e, c.source)
	}
	if err != nil {
		return nil, "", fmt.Errorf("render %s for sink %s: %w", e.Type, c.Name, err)
	}
	return body, contentType, nil
}

func (c *compiled) method() string {
	switch {
	case c.Method != "":
		return c.Method
	case c.preset != nil:
		return c.preset.method
	default:
		return http.MethodPost
	}
}

// deadline is when delivery is given up.
func (c *compiled) deadline(d *delivery) time.Time {
	end := d.QueuedAt.Add(ordinaryWindow)
	if d.escalation() {
		end = d.QueuedAt.Add(escalationWindow)
	}
	expires := d.Event.ExpiresAt
	if d.ephemeral && expires.IsZero() {
		return d.QueuedAt.Add(ephemeralWindow)
	}
	// A code is worth nothing after its hold, and a person who reads "you will be asked" hours later is only alarmed. A
	// machine is still told.
	forPeople := c.Type != "webhook" || c.preset != nil
	if !expires.IsZero() && d.Event.asks() && (forPeople || d.ephemeral) && expires.Before(end) {
		return expires
	}
	return end
}

// isWebURL reports whether a person may be sent to s.
func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil || err == nil && loopbackHTTP(u)
}
