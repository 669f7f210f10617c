package refusal

import (
	"errors"
	"net/http"
)

// Codes returns every code, in the order of design §6.3. Each has a page under docs/problems.
func Codes() []Code {
	return []Code{
		PolicyDenied, VerificationDenied, VerificationTimedOut, VerificationFraud, NotEnrolled, LockedOut, Unavailable,
		BudgetExhausted, Withdrawn, ApprovalExpired, RequirementChanged, RequestExpired, OutcomeUnknown, NotSelf,
		RequesterUnknown, RequesterNotAttested, Uninspectable, BodyTooLarge, DestinationDenied, AuthorityMismatch,
		PolicyUnavailable, JournalUnavailable, ApprovalSpent, DuplicateInFlight, MalformedRequest, LoopDetected,
		UpgradeUnsupported, Pending, Draining, HoldsExhausted, UpstreamUnreachable, UpstreamTimeout, Internal,
	}
}

// Status returns the HTTP status of a code. An unknown code is our own fault: 500.
//
// 403 is final for the SDKs we know and 503 with Retry-After is what they retry; 504 is never used, since they
// retry that by themselves without saying so.
func (c Code) Status() int {
	switch c {
	case PolicyDenied, VerificationDenied, VerificationTimedOut, VerificationFraud, NotEnrolled, LockedOut, Unavailable,
		BudgetExhausted, Withdrawn, ApprovalExpired, RequirementChanged, RequestExpired, OutcomeUnknown, NotSelf,
		RequesterUnknown, RequesterNotAttested, Uninspectable, BodyTooLarge, DestinationDenied, AuthorityMismatch,
		PolicyUnavailable, JournalUnavailable, ApprovalSpent, DuplicateInFlight, UpgradeUnsupported:
		return http.StatusForbidden
	case MalformedRequest:
		return http.StatusBadRequest
	case LoopDetected:
		return http.StatusLoopDetected
	case Pending, Draining, HoldsExhausted:
		return http.StatusServiceUnavailable
	case UpstreamUnreachable, UpstreamTimeout:
		return http.StatusBadGateway
	case Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}

// proxyError returns the RFC 9209 §2.3 error type that goes with a code.
func (c Code) proxyError() string {
	switch c {
	case LoopDetected:
		return "proxy_loop_detected"
	case UpstreamUnreachable:
		return "destination_unavailable"
	case UpstreamTimeout:
		return "http_response_timeout"
	default:
	}
	switch c.Status() {
	case http.StatusServiceUnavailable:
		return "proxy_internal_response"
	case http.StatusInternalServerError:
		return "proxy_internal_error"
	default:
		return "http_request_denied"
	}
}

// retryAfter returns the Retry-After of a code in seconds, 0 for none. Pending has 1, so that an SDK's own retry
// attaches to the hold again at once.
func (c Code) retryAfter() int {
	switch c {
	case Pending:
		return 1
	case Draining:
		return 2
	case HoldsExhausted:
		return 30
	default:
		return 0
	}
}

// From turns any error into a refusal. It is the only bridge: what is not a refusal already becomes
// internal_error, and the error itself stays with us.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, Err: err}
}
