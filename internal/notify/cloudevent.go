package notify

import (
	"bytes"
	"encoding/json"
	"time"
)

// cloudEvent is the structured JSON form of CloudEvents 1.0.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            Type      `json:"type"`
	Subject         string    `json:"subject,omitempty"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            eventData `json:"data"`
}

// eventData is what the sink is told of the event.
type eventData struct {
	Hold      string    `json:"hold,omitempty"`
	State     string    `json:"state,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Requester string    `json:"requester,omitempty"`
	Ticket    string    `json:"ticket,omitempty"`
	Agent     string    `json:"agent,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	Provider  string    `json:"provider,omitempty"`
	API       string    `json:"api,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Category  string    `json:"category,omitempty"`
	Summary   string    `json:"summary,omitempty"`
	OpenedAt  time.Time `json:"opened_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Advice    string    `json:"advice,omitempty"`
	URL       string    `json:"url,omitempty"`
	Code      string    `json:"code,omitempty"`
}

func dataOf(e Event) eventData {
	return eventData{
		Hold: e.Hold, State: e.State, Reason: e.Reason, Requester: e.Requester, Ticket: e.Ticket, Agent: e.Agent,
		Channel: e.Channel, Provider: e.Provider, API: e.API, Operation: e.Operation, Category: e.Category, Summary: e.Summary,
		OpenedAt: e.OpenedAt, ExpiresAt: e.ExpiresAt, Advice: e.Advice, URL: e.URL, Code: e.Code,
	}
}

func renderCloudEvent(e Event, source string) ([]byte, error) {
	return encode(cloudEvent{
		SpecVersion: "1.0", ID: e.ID, Source: source, Type: e.Type, Subject: e.Hold, Time: e.Time,
		DataContentType: "application/json", Data: dataOf(e),
	})
}

// encode is json.Marshal without the escapes that are for HTML: a receiver may show the text, and no sink is a web page.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
