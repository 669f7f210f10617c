package refusal

import (
	"strings"
	"time"
	"unicode"
)

// Sentence says to the employee what was not done, why, and what to do next. It contains nothing but
// constants, Undone, Requester, Prompt and Detail, cleaned of control and direction characters.
func (e *Error) Sentence() string {
	why, next := e.parts()
	s := clean(e.opening()) + ": " + why + "."
	if next != "" {
		s += " " + next
	}
	return s
}

// opening says what became of the request. Once it has been sent, nobody can promise that nothing happened.
func (e *Error) opening() string {
	switch {
	case e.Sent || e.Code == OutcomeUnknown:
		return "It is not known whether the request took effect"
	case e.Code == Pending:
		return "The request is waiting for a verification"
	case e.Undone != "":
		return strings.TrimSuffix(e.Undone, ".")
	default:
		return "The request was not sent on"
	}
}

func (e *Error) parts() (why, next string) {
	who := clean(e.Requester)
	if who == "" {
		who = "the person who asked"
	}
	switch e.Code {
	case VerificationDenied:
		return who + " declined the verification request", again
	case VerificationTimedOut:
		return e.because(who + " did not answer the verification request in time"), again
	case VerificationFraud:
		return who + " reported the verification request as fraud",
			e.escalation("No further prompt will be sent until an operator has looked into it.")
	case NotEnrolled:
		if e.Own {
			return "it would change the factor that " + who + " confirms with, and there is no other one to ask",
				"A technician has to do it." + e.notified()
		}
		return who + " has no verification method enrolled", e.escalation("A technician must help.")
	case LockedOut:
		return who + " is locked out at the verification provider", e.escalation("A technician must help.")
	case Unavailable:
		return "the verification service could not confirm who asked", e.escalation("Try again later, or ask a technician.")
	case BudgetExhausted:
		return e.because(who + " has been asked to verify too often"), e.fromWhen()
	case Withdrawn:
		return "the verification request was withdrawn", again
	case ApprovalExpired:
		return "it was approved, but not claimed in time", again
	case RequirementChanged:
		return "the rules for it changed while it was waiting", again
	case ApprovalSpent:
		return "its approval has been used already", again
	case DuplicateInFlight:
		return "an identical request is on its way", "Wait for the answer to that one."
	case Pending:
		if page := clean(e.Prompt); page != "" {
			return who + " has not answered yet", "They confirm at " + page + " . Send the same request again to go on waiting."
		}
		return who + " has not answered yet", "Send the same request again to go on waiting."
	default:
		return e.plain()
	}
}

const again = "Send the request again to get a new prompt."

// plain has the codes that are about the request and not about a person's answer.
func (e *Error) plain() (why, next string) {
	switch e.Code {
	case PolicyDenied:
		return e.because("policy does not allow it"), "Ask the security team if it should be allowed."
	case NotSelf:
		return e.because("policy lets people do this for themselves only"), "The person concerned must ask."
	case RequestExpired:
		return "its own signature expired while it was waiting", "Sign it again and send it at once: the approval holds for a short while."
	case OutcomeUnknown:
		return "the connection between approval and answer was lost", "Check what happened before sending it again."
	case RequesterUnknown:
		return "it needs a verification and does not say which employee asked for it", "Send it with a signed requester assertion."
	case RequesterNotAttested:
		return e.because("it needs a verification and its requester assertion is not valid"), "Send it with a current signed requester assertion."
	case Uninspectable:
		return e.because("it could not be read in exactly one way"), "Send it in its plain form."
	case BodyTooLarge:
		return "its body is too large to be inspected", "Send a smaller one."
	case DestinationDenied:
		return e.because("its destination is not on the list of allowed ones"), "Ask the security team if it should be."
	case AuthorityMismatch:
		return "its host names do not agree", "Name one host throughout."
	case MalformedRequest:
		return e.because("it is not well-formed HTTP"), "Correct it and send it again."
	case LoopDetected:
		return "it came through this proxy before", "Ask an operator to check the proxy settings."
	case UpgradeUnsupported:
		return "protocol upgrades to this host are not supported", "Use plain requests."
	default:
		return e.ours()
	}
}

// ours has the codes that are about the sidecar, the ledger, the network or the API.
func (e *Error) ours() (why, next string) {
	switch e.Code {
	case PolicyUnavailable:
		return "no policy could judge it", "Try again later; an operator must look at the sidecar."
	case JournalUnavailable:
		return "it could not be recorded", "Try again later; an operator must look at the sidecar."
	case Draining:
		return "the sidecar is stopping", "Send it again in a moment."
	case HoldsExhausted:
		return "too many requests are waiting for verifications", "Send it again later."
	case UpstreamUnreachable:
		if e.Sent {
			return "the connection to the API was lost before it answered", "Check what happened before sending it again."
		}
		return "the API could not be reached", "Send it again later."
	case UpstreamTimeout:
		if e.Sent {
			return "the API did not answer in time", "Check what happened before sending it again."
		}
		return "the API could not be reached in time", "Send it again later."
	default:
		return "the sidecar failed", "Try again later; an operator must look at the sidecar."
	}
}

// because prefers the safe clause that came with the refusal.
func (e *Error) because(otherwise string) string {
	if d := strings.TrimRight(clean(e.Detail), ". "); d != "" {
		return d
	}
	return otherwise
}

// escalation claims that technicians know only where they really were told.
func (e *Error) escalation(otherwise string) string {
	if e.Escalated {
		return "Technicians have been notified."
	}
	return otherwise
}

// notified adds to a sentence that technicians know, where they do.
func (e *Error) notified() string {
	if e.Escalated {
		return " Technicians have been notified."
	}
	return ""
}

func (e *Error) fromWhen() string {
	if e.Until.IsZero() {
		return "An operator must clear the block."
	}
	// Rounded up: the minute that is named must not be refused again.
	t := e.Until.UTC().Add(time.Minute - time.Nanosecond).Truncate(time.Minute)
	return "Try again after " + t.Format("15:04 UTC on 2 January 2006") + "."
}

// clean drops control and direction characters: a sentence must not be able to rewrite the screen it is shown on.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}
