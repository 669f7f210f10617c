// Package providers is the contract between holds and the services that ask a person for a
// verification. An implementation lives in a package of its own and passes providertest.
package providers

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Person is who is asked. ID is never taken from the agent: it comes from a requester assertion.
type Person struct {
	ID       string // UPN or e-mail
	ObjectID string // immutable id in the directory, where the assertion carried it
	TenantID string
	Email    string // where the assertion carried it beside the id; only ever a way to find the service's user
}

// Field is one line of a challenge.
type Field struct{ Name, Value string }

// Challenge is what the person is shown. A provider renders as much of it as it can.
type Challenge struct {
	HoldID    string    // ours; the same id in journal, response and prompt
	Person    Person    // who is asked
	Title     string    // "Reset the password of bob@contoso.com"
	Fields    []Field   // what is being approved, in plain words, in order
	Code      string    // binding code, shown to the requester and on the phone where possible
	ExpiresAt time.Time // when the hold gives up; a provider's own shorter limit wins
	// Needs has the capabilities that policy requires. A provider whose prompts have one only sometimes answers
	// Unavailable, and asks nobody, where this prompt would not have it.
	Needs []string
	// Prefers has the capabilities that policy would rather have. A provider with several ways to ask takes one that has them.
	Prefers []string
}

// Verdict is a person's answer, or why there is none. The zero value approves nothing.
type Verdict uint8

// The verdicts. Every value a provider does not know is Unavailable.
const (
	Unavailable Verdict = iota // failed, unknown, or no proof (bypass, remembered device)
	Approved
	Denied
	TimedOut
	Fraud
	NotEnrolled
	LockedOut
)

// String returns the verdict's name in snake case, as the journal shows it.
func (v Verdict) String() string {
	switch v {
	case Approved:
		return "approved"
	case Denied:
		return "denied"
	case TimedOut:
		return "timed_out"
	case Fraud:
		return "fraud"
	case NotEnrolled:
		return "not_enrolled"
	case LockedOut:
		return "locked_out"
	case Unavailable:
		return "unavailable"
	default:
		return "unavailable"
	}
}

// Outcome is the verdict and all that the provider vouches for.
type Outcome struct {
	Verdict     Verdict
	ImmutableID string    // the provider's own id of the person, where it has one
	AMR         []string  // RFC 8176, only with Approved
	At          time.Time // when the provider learned it; zero: when we did
	Detail      string    // the provider's own word (result/status), for the journal; never a secret
}

// Attempt is what Start began. Either the person was asked, and Transaction names the asking, or nobody was
// and Outcome (never Approved) is final. A hold stores it, so that a restart can resume or cancel.
type Attempt struct {
	Asked       bool
	Transaction string  // the provider's own handle
	Outcome     Outcome // only when not Asked
	// URL is a page where the person answers, for a provider that cannot reach them by itself; else empty. Anybody may
	// be given it: only the person can complete it.
	URL string
	// Code is what the person has to type or pick on their phone, where the provider asks for it; else empty. It is
	// shown through sinks that ask for it, and never to the agent.
	Code string
}

// Verifier asks one person about one operation, out of band. A no is an Outcome; an error means that it is
// not known what the person wants, and is never an approval. Implementations are safe for concurrent use.
type Verifier interface {
	// Start asks. It sends at most one push and is never repeated by the caller or by itself.
	// After an error nobody can know whether the person was asked.
	Start(ctx context.Context, c Challenge) (Attempt, error)
	// Wait blocks until the transaction is settled, ctx ends or the provider's own limit has passed
	// (TimedOut). It may be called again for the same transaction, after a restart too.
	Wait(ctx context.Context, transaction string) (Outcome, error)
}

// Limiter is a Verifier whose service gives up by itself. A hold ends at the shorter of Limit and its own.
type Limiter interface{ Limit() time.Duration }

// Capable is a Verifier that says what its prompts can do: "text", "number_match", "phishing_resistant".
type Capable interface{ Capabilities() []string }

// Canceler is a Verifier that can take a push back.
type Canceler interface {
	Cancel(ctx context.Context, transaction string) error
}

// ErrCallback is what a Caller's Callback returns for a request that its service did not sign, or signed too long ago.
var ErrCallback = errors.New("providers: callback refused")

// Caller is a Verifier whose service calls back. A callback approves nothing: it only wakes whoever waits, on whichever
// replica that is.
type Caller interface {
	// Callback verifies a request of the service, whose body was read whole, and returns the transaction it is about, as
	// Start named it or as Handle does, or "" for one that is about none. Errors wrap ErrCallback.
	Callback(r *http.Request, body []byte) (transaction string, err error)
	// Handle is what the service itself calls a transaction of Start's, which is all that a replica knows that did not
	// start it. What is no transaction of Start's comes back as it is.
	Handle(transaction string) string
	// Wake makes a Wait for that transaction look at once. One that nobody waits for is ignored. It does not block.
	Wake(transaction string)
}

// Prober is a Verifier that can tell whether it could ask a person, without asking them. What it says may be wrong a moment
// later, and is never a condition.
type Prober interface {
	Reachable(ctx context.Context, p Person) (bool, error)
}

// Accounter is a Verifier that can tell which of its service's accounts it would ask for a person. Two people with one
// account have one phone: what bounds the pushes to either bounds those to both. Whoever is no Accounter asks the person it
// is given.
type Accounter interface {
	// Account returns the account as its service names it: ID always, ObjectID where the service has an id that never
	// changes. It asks nobody, and for what it returned it returns the same. After an error nobody is asked; one that is an
	// *Unasked says what Start would have answered.
	Account(ctx context.Context, p Person) (Person, error)
}

// Unasked is why a provider has nobody to ask.
type Unasked struct{ Outcome Outcome }

func (e *Unasked) Error() string { return "providers: nobody to ask: " + e.Outcome.Verdict.String() }

// Pager is a Verifier with web pages of its own, where the person answers. They are served on the callback listener.
type Pager interface{ Pages() http.Handler }

// Corroborator is a Verifier that can look, some time after an approval, for the service's own record of it. What it
// finds is for the journal, and is never a condition.
type Corroborator interface {
	Corroborate(ctx context.Context, p Person, transaction string, at time.Time) (detail string, err error)
}

// Checker is a Verifier that can try its credentials without asking anybody.
type Checker interface {
	Check(ctx context.Context) error
}
