package control

import (
	"time"

	"countersign/internal/hold"
)

// view is a hold as the API shows it. It has nothing of the request but what the person was shown, and no digest.
type view struct {
	ID         string          `json:"id"`
	Status     string          `json:"status"`
	Requester  string          `json:"requester"`
	Agent      string          `json:"agent"`
	Ticket     string          `json:"ticket,omitempty"`
	Channel    string          `json:"channel,omitempty"`
	API        string          `json:"api,omitempty"`
	Summary    string          `json:"summary"`
	Operations []viewOperation `json:"operations"`
	Provider   string          `json:"provider,omitempty"`
	PromptURL  string          `json:"prompt_url,omitempty"` // where the person answers, for a provider with pages
	OpenedAt   time.Time       `json:"opened_at"`
	AskedAt    time.Time       `json:"asked_at,omitzero"`
	ExpiresAt  time.Time       `json:"expires_at"` // when the verification gives up
	SettledAt  time.Time       `json:"settled_at,omitzero"`
	ClaimBy    time.Time       `json:"claim_by,omitzero"` // with status approved: until when the same request is let through
	Code       string          `json:"code,omitempty"`    // refusal code, once the hold ended without an approval
	Detail     string          `json:"detail"`            // one sentence fit for the employee
}

type viewOperation struct {
	Name     string       `json:"name"`
	Category string       `json:"category"`
	Summary  string       `json:"summary"`
	Resource viewResource `json:"resource"`
}

type viewResource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

func (s *Server) view(r hold.Record) view {
	v := view{
		ID: string(r.ID), Status: r.State.String(), Requester: r.Subject.Requester.ID, Agent: r.Subject.Agent, Ticket: r.Subject.Ticket,
		Channel: r.Channel, API: r.API, Summary: r.Summary, Operations: []viewOperation{}, Provider: r.Provider, PromptURL: r.PromptURL,
		OpenedAt: r.OpenedAt, AskedAt: r.AskedAt, ExpiresAt: r.ExpiresAt, SettledAt: r.SettledAt,
	}
	for _, op := range r.Operations {
		v.Operations = append(v.Operations, viewOperation{op.Name, op.Category, op.Summary, viewResource{op.Resource.Type, op.Resource.ID}})
	}
	switch r.State {
	case hold.Pending:
		v.Detail = "Waiting for " + r.Subject.Requester.ID + " to answer the verification request."
	case hold.Approved:
		v.ClaimBy = r.SettledAt.Add(r.Resume)
		v.Detail = "Approved. Send the same request again to have it carried out."
	case hold.Spent:
		v.Detail = "Approved, and the request was sent to the API."
		if r.AnsweredAt.IsZero() {
			v.Detail = "Approved, and the request is on its way to the API; its answer is not known yet."
		}
	case hold.Unopened, hold.Denied, hold.TimedOut, hold.Fraud, hold.NotEnrolled, hold.LockedOut, hold.Unavailable, hold.Withdrawn, hold.Expired:
		v.Code, v.Detail = s.refusal(r)
	default:
		v.Code, v.Detail = s.refusal(r)
	}
	return v
}

// refusal returns the code and the sentence of a hold that ended without being used.
func (s *Server) refusal(r hold.Record) (code, sentence string) {
	if s.o.Outcome == nil {
		return "", ""
	}
	e := s.o.Outcome(r)
	return string(e.Code), e.Sentence()
}

// eventType names what became of a hold, as notifications do (design §6.6).
func eventType(r hold.Record) string {
	switch {
	case r.State == hold.Pending && r.AskedAt.IsZero():
		return "hold.started"
	case r.State == hold.Pending:
		return "hold.asked"
	default:
		return "hold." + r.State.String()
	}
}
