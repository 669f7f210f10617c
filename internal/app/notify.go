package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"countersign/internal/config"
	"countersign/internal/control"
	"countersign/internal/hold"
	"countersign/internal/notify"
)

// notifyClose is how long sinks may take when the sidecar stops; what is left is sent after the next start.
const notifyClose = 5 * time.Second

// openOutbox opens what tells people and systems of holds; nil where nobody is to be told.
func openOutbox(c config.Config, log *slog.Logger, metrics *control.Metrics) (*notify.Outbox, error) {
	if len(c.Notify) == 0 {
		return nil, nil //nolint:nilnil // nobody is to be told
	}
	o := notify.Options{
		Dir: filepath.Join(filepath.Dir(c.Ledger.Dir), "outbox"), Source: "/countersign", Logger: log,
		Observe: func(m notify.Metric) { metrics.Notified(m.Sink, string(m.Outcome)) },
	}
	for i, s := range c.Notify {
		roots, err := extraRoots(s.RootCAs)
		if err != nil {
			return nil, fmt.Errorf("notify[%d].root_cas: %w", i, err)
		}
		o.Sinks = append(o.Sinks, notify.Sink{
			Name: c.SinkName(i), Type: s.Type, URL: notify.Secret(s.URL.Reveal()), Events: s.Events, Secrets: secrets(s.Secrets),
			Template: s.Template, Body: s.Body, Method: s.Method, Headers: secretMap(s.Headers), Username: s.Username,
			Password: notify.Secret(s.Password.Reveal()), Bearer: notify.Secret(s.Bearer.Reveal()),
			OAuth: notify.OAuth{
				TokenURL: s.OAuth.TokenURL, ClientID: s.OAuth.ClientID, ClientSecret: notify.Secret(s.OAuth.ClientSecret.Reveal()), Scope: s.OAuth.Scope,
			},
			Codes: s.Codes, Public: s.Public, RootCAs: roots, Timeout: s.Timeout,
		})
	}
	return notify.Open(o)
}

func secrets(in []config.Secret) (out []notify.Secret) {
	for _, s := range in {
		out = append(out, notify.Secret(s.Reveal()))
	}
	return out
}

func secretMap(in map[string]config.Secret) map[string]notify.Secret {
	out := map[string]notify.Secret{}
	for k, s := range in {
		out[k] = notify.Secret(s.Reveal())
	}
	return out
}

// told is what a change of a hold is to sinks; false where it is nothing to them.
func told(e hold.Event, r hold.Record) (notify.Event, bool) {
	t := notify.Type("")
	switch e.Kind {
	case hold.EventAsking:
		t = notify.HoldStarted
		r.Provider = e.Provider
		if !e.ExpiresAt.IsZero() {
			r.ExpiresAt = e.ExpiresAt
		}
	case hold.EventRedeemed:
		t = notify.HoldSpent
	case hold.EventSettled, hold.EventTimedOut, hold.EventAbandoned, hold.EventWithdrawn, hold.EventFaulted, hold.EventExpired:
		t = notify.Type("hold." + r.State.String())
	case hold.EventNone, hold.EventOpened, hold.EventAttached, hold.EventLeft, hold.EventDelivered, hold.EventAdopted, hold.EventAsked, hold.EventAnswered:
		return notify.Event{}, false
	default:
		return notify.Event{}, false
	}
	return eventOf(t, r), true
}

// eventOf describes a hold. Nothing of the request is in it but what the person is shown.
func eventOf(t notify.Type, r hold.Record) notify.Event {
	e := notify.Event{
		Type: t, Hold: string(r.ID), State: r.State.String(), Reason: r.Detail, Requester: r.Subject.Requester.ID, Ticket: r.Subject.Ticket,
		Agent: r.Subject.Agent, Channel: r.Channel, Provider: r.Provider, API: r.API, Summary: r.Summary, OpenedAt: r.OpenedAt,
		ExpiresAt: r.ExpiresAt, URL: r.PromptURL,
	}
	if len(r.Operations) > 0 {
		e.Operation, e.Category = r.Operations[0].Name, r.Operations[0].Category
	}
	return e
}

// tellers are the desk's ways to the outbox. Without one nobody is told, and no code is asked for.
func (s *Sidecar) tellers(o *hold.Options) {
	if s.outbox == nil {
		return
	}
	observe := o.Observe
	o.Observe = func(e hold.Event, r hold.Record) {
		observe(e, r)
		if n, ok := told(e, r); ok {
			s.outbox.Notify(n)
		}
	}
	o.Prompted = func(r hold.Record, url, code string) {
		n := eventOf(notify.HoldPrompted, r)
		n.URL, n.Code = url, code
		s.outbox.Notify(n)
	}
	o.Escalated = func(ctx context.Context, r hold.Record) bool {
		return s.outbox.Escalate(ctx, eventOf(notify.EscalationRequested, r))
	}
}

// closeOutbox leaves what could not be sent for the next start.
func (s *Sidecar) closeOutbox() {
	ctx, cancel := context.WithTimeout(context.Background(), notifyClose)
	defer cancel()
	if err := s.outbox.Close(ctx); err != nil {
		s.log.Warn("notifications left for the next start", slog.Any("error", err))
	}
}
