package notify

import (
	"fmt"
	"strings"
)

// advice says what a technician should do about an event; "" when there is nothing to do.
func advice(e Event) string {
	who, provider, ticket := orElse(e.Requester, "the requester"), orElse(e.Provider, "the verification provider"), "the ticket"
	if e.Ticket != "" {
		ticket = "ticket " + e.Ticket
	}
	subject := orElse(e.Requester, "The requester") // where a sentence begins
	switch troubleOf(e) {
	case "not_enrolled":
		return fmt.Sprintf("%s has no usable verification method with %s. Make sure who they are by other means: in person, or by "+
			"calling the number on file. Do not rely on %s or on the chat with the agent. Then enrol a method for them and have "+
			"the request sent again.", subject, provider, ticket)
	case "locked_out":
		return fmt.Sprintf("%s does not let %s answer: the account or the device is locked or blocked. Find out why in its console "+
			"before you unlock anything, and make sure who they are by calling the number on file. Then have the request sent again.",
			orElse(e.Provider, "The verification provider"), who)
	case "fraud":
		return fmt.Sprintf("%s says that they did not ask for this. Call them now, on the number on file. Until that is settled take "+
			"%s and the agent's session as taken over: reply to neither, and look at what else they asked for. They are sent "+
			"no more prompts until an operator runs: countersign holds unblock.", subject, ticket)
	case "unavailable":
		return fmt.Sprintf("%s could not be asked, or its answer was no proof. Look at the provider's status page, then run countersign "+
			"doctor, which says what to fix. If it is urgent, make sure who %s is by calling the number on file, and do the change by "+
			"hand under your own procedure.", orElse(e.Provider, "The verification provider"), who)
	default:
		if e.Type == EscalationRequested {
			return fmt.Sprintf("Countersign could not get an answer from %s. Call them on the number on file before you do anything "+
				"for %s by hand.", who, ticket)
		}
		return ""
	}
}

// troubleOf names the state that a technician has to do something about; "" when it is none of those.
func troubleOf(e Event) string {
	switch e.Type {
	case HoldNotEnrolled, HoldLockedOut, HoldFraud, HoldUnavailable:
		return strings.TrimPrefix(string(e.Type), "hold.")
	case EscalationRequested:
		return e.State
	case HoldStarted, HoldPrompted, HoldApproved, HoldDenied, HoldTimedOut, HoldWithdrawn, HoldExpired, HoldSpent:
		return ""
	default:
		return ""
	}
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// headline says what happened, in the words of those who run the service desk.
func headline(e Event) string {
	who := orElse(e.Requester, "The requester")
	switch e.Type {
	case HoldStarted:
		return who + " is being asked to confirm an operation"
	case HoldPrompted:
		return who + " has to answer on a page or with a code"
	case HoldApproved:
		return who + " approved the operation"
	case HoldDenied:
		return who + " declined the operation; it was not carried out"
	case HoldTimedOut:
		return who + " did not answer; the operation was not carried out"
	case HoldFraud:
		return who + " reported fraud; the operation was not carried out"
	case HoldNotEnrolled:
		return who + " has no verification method; the operation was not carried out"
	case HoldLockedOut:
		return who + " is locked out of verification; the operation was not carried out"
	case HoldUnavailable:
		return "Verification failed; the operation was not carried out"
	case HoldWithdrawn:
		return "The request was withdrawn; the operation was not carried out"
	case HoldExpired:
		return "The approval was not used in time; the operation was not carried out"
	case HoldSpent:
		return "The approved operation was sent"
	case EscalationRequested:
		return "A technician is needed: " + escalationCause(e)
	default:
		return "Something happened to a hold"
	}
}

func escalationCause(e Event) string {
	who := orElse(e.Requester, "the requester")
	switch e.State {
	case "not_enrolled":
		return who + " has no verification method"
	case "locked_out":
		return who + " is locked out of verification"
	case "fraud":
		return who + " reported fraud"
	case "unavailable":
		return "verification with " + orElse(e.Provider, "the provider") + " failed"
	default:
		return "no answer from " + who
	}
}

// employeeText says what happened to the person who was asked. It names no cause that would help somebody else, and gives
// none of the technician's advice.
func employeeText(e Event) string {
	what := orElse(e.Summary, "an operation")
	switch e.Type {
	case HoldStarted:
		text := "You will be asked to confirm a request that was made in your name: " + what + "."
		if !e.ExpiresAt.IsZero() {
			text += " The request ends at " + clock(e.ExpiresAt) + "."
		}
		return text + " Approve it only if you asked for it."
	case HoldPrompted:
		text := "Please confirm the request that was made in your name: " + what + "."
		if e.URL != "" {
			text += " Open this page and sign in: " + e.URL + " ."
		}
		return text + " Approve it only if you asked for it."
	case HoldApproved:
		return "You confirmed this request: " + what + "."
	case HoldDenied:
		return "The request was declined and not carried out: " + what + ". If you did not ask for it, tell the service desk."
	case HoldTimedOut:
		return "The request was not confirmed in time and not carried out: " + what + ". If you still need it, ask for it again."
	case HoldFraud:
		return "You reported that you did not ask for this, and it was not carried out: " + what + ". Tell the service desk what you saw."
	case HoldNotEnrolled:
		return "The request was not carried out, because you have no way to confirm it: " + what + ". A technician has to help."
	case HoldLockedOut, HoldUnavailable:
		return "The request was not carried out, because it could not be confirmed: " + what + ". A technician has to help."
	case HoldWithdrawn, HoldExpired:
		return "The request ended and was not carried out: " + what + ". If you still need it, ask for it again."
	case HoldSpent:
		return "The request that you confirmed was sent: " + what + "."
	case EscalationRequested:
		return "" // never to the employee
	default:
		return ""
	}
}
