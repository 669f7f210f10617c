// Package refusal is the one bridge from errors to answers: every refusal has a code, one sentence fit for the
// employee, and the shape of the API's own errors, and never an inner error text (invariant I8).
package refusal

import "time"

// Code is the stable machine-readable reason of a refusal. Each has a page under docs/problems.
type Code string

// The codes of design §6.3.
const (
	PolicyDenied         Code = "policy_denied"
	VerificationDenied   Code = "verification_denied"
	VerificationTimedOut Code = "verification_timed_out"
	VerificationFraud    Code = "verification_fraud"
	NotEnrolled          Code = "verification_not_enrolled"
	LockedOut            Code = "verification_locked_out"
	Unavailable          Code = "verification_unavailable"
	BudgetExhausted      Code = "push_budget_exhausted"
	Withdrawn            Code = "verification_withdrawn"
	ApprovalExpired      Code = "approval_expired"
	RequirementChanged   Code = "requirement_changed"
	RequestExpired       Code = "request_expired"
	OutcomeUnknown       Code = "outcome_unknown"
	NotSelf              Code = "not_self"
	RequesterUnknown     Code = "requester_unknown"
	RequesterNotAttested Code = "requester_not_attested"
	Uninspectable        Code = "uninspectable"
	BodyTooLarge         Code = "body_too_large"
	DestinationDenied    Code = "destination_not_allowed"
	AuthorityMismatch    Code = "authority_mismatch"
	PolicyUnavailable    Code = "policy_unavailable"
	JournalUnavailable   Code = "journal_unavailable"
	ApprovalSpent        Code = "approval_spent"
	DuplicateInFlight    Code = "duplicate_in_flight"
	MalformedRequest     Code = "malformed_request"
	LoopDetected         Code = "loop_detected"
	UpgradeUnsupported   Code = "upgrade_not_supported"
	Pending              Code = "verification_pending"
	Draining             Code = "draining"
	HoldsExhausted       Code = "holds_exhausted"
	UpstreamUnreachable  Code = "upstream_unreachable"
	UpstreamTimeout      Code = "upstream_timeout"
	Internal             Code = "internal_error"
)

// Error is a refusal on its way to the caller. What the caller may see and what we know are separate fields.
type Error struct {
	Code      Code
	API       string    // chooses the shape of the body; "" is application/problem+json
	Protocol  Protocol  // which of the API's protocols the request speaks, where it has several
	Hold      string    // id, where there is a hold
	Undone    string    // "The password of bob@contoso.com was not reset"; "" says "The request was not sent on"
	Requester string    // who was asked, where somebody was
	Escalated bool      // technicians really were notified: a sink is configured and took the message
	Until     time.Time // BudgetExhausted: from when one may try again; zero when an operator must clear it
	Own       bool      // NotEnrolled: the only factors are ones that the operation itself would change
	Prompt    string    // Pending: the page where the person answers, where there is one
	Sent      bool      // the request had gone to the API, so nobody can say that nothing happened
	Detail    string    // policy's own reason text, or one safe clause of ours
	Err       error     // for the log only
}

func (e *Error) Error() string {
	if e.Err != nil {
		return "refused: " + string(e.Code) + ": " + e.Err.Error()
	}
	return "refused: " + string(e.Code)
}

// Unwrap returns what we know.
func (e *Error) Unwrap() error { return e.Err }
