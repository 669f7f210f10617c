// Package policy decides: it classifies one operation by Rego, in process, and answers deny, allow or
// step_up with reasons. Every failure is a denial. It imports nothing else of this module, so that
// anything may depend on its vocabulary.
package policy

import (
	"errors"
	"slices"
	"time"
)

var (
	// ErrMalformed marks an answer of the policy that is not of the contract's shape.
	ErrMalformed = errors.New("policy: malformed decision")
	// ErrUndefined marks a policy that gave no answer.
	ErrUndefined = errors.New("policy: undefined decision")
	// ErrUnavailable marks that no policy is in force, or that it did not answer in time.
	ErrUnavailable = errors.New("policy: unavailable")
)

// Reason says why, with a stable code and one sentence.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Requirement is what a step_up asks for. Empty lists ask for nothing in particular.
type Requirement struct {
	Approver     string   `json:"approver"`     // "requester"
	Providers    []string `json:"providers"`    // any of these
	Capabilities []string `json:"capabilities"` // all of these: text, number_match, phishing_resistant
	AMR          []string `json:"amr"`          // all of these (RFC 8176)
	// Prefer has capabilities that are asked for wherever a provider of that person has them: a provider with fewer of
	// them is asked only when every one with more does not know the person. Whoever runs the hold sees to that.
	Prefer []string `json:"prefer,omitempty"`
}

// Decision is the policy's answer for one operation. The zero value denies.
type Decision struct {
	Effect      Effect       `json:"effect"`
	Operation   string       `json:"operation"`
	Category    string       `json:"category"`
	Summary     string       `json:"summary"`
	Reasons     []Reason     `json:"reasons"`
	Requirement *Requirement `json:"requirement,omitempty"` // set if and only if Effect is StepUp
	Revision    string       `json:"-"`                     // of the policy that answered
}

// MetBy reports whether evidence meets the requirement: provider, amr and approver, and an approval no
// older than maxAge at now. A zero maxAge, nil evidence or an unknown approver rule meets nothing.
func (r Requirement) MetBy(e *Evidence, requester string, now time.Time, maxAge time.Duration) bool {
	if e == nil || r.Approver != "requester" || requester == "" || e.Approver.ID != requester {
		return false
	}
	if age := now.Sub(e.ApprovedAt); e.ApprovedAt.IsZero() || age > maxAge || age < -time.Minute {
		return false
	}
	if len(r.Providers) > 0 && !slices.Contains(r.Providers, e.Provider) {
		return false
	}
	for _, m := range r.AMR {
		if !slices.Contains(e.AMR, m) {
			return false
		}
	}
	return true
}
