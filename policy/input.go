package policy

import (
	"fmt"
	"time"
)

// Assurance says how sure we are of the requester. The zero value is none.
type Assurance uint8

// The assurances, weakest first.
const (
	AssuranceNone     Assurance = iota // nobody named, or what named them did not hold
	AssuranceAsserted                  // a plain header, accepted by configuration only
	AssuranceAttested                  // a signed assertion that verified
)

// String returns the name used in Rego and the journal.
func (a Assurance) String() string {
	switch a {
	case AssuranceAttested:
		return "attested"
	case AssuranceAsserted:
		return "asserted"
	case AssuranceNone:
		return "none"
	default:
		return "none"
	}
}

// MarshalText writes the name of a.
func (a Assurance) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name. Anything unknown is an error and leaves a at AssuranceNone.
func (a *Assurance) UnmarshalText(b []byte) error {
	switch string(b) {
	case "attested":
		*a = AssuranceAttested
	case "asserted":
		*a = AssuranceAsserted
	case "none":
		*a = AssuranceNone
	default:
		*a = AssuranceNone
		return fmt.Errorf("policy: assurance is %q, want attested, asserted or none", b)
	}
	return nil
}

// Requester is the employee on whose behalf the agent acts: the person who is asked.
type Requester struct {
	ID        string         `json:"id"` // UPN or e-mail, lower case
	Assurance Assurance      `json:"assurance"`
	Claims    map[string]any `json:"claims"` // of the assertion, registered and private, without its signature
	ObjectID  string         `json:"oid,omitempty"`
	TenantID  string         `json:"tid,omitempty"`
	Email     string         `json:"-"` // the assertion's email claim, for providers that know people by it; policy has it in Claims
}

// Subject is AuthZEN's subject: the workload that calls, and the person it acts for.
type Subject struct {
	Agent     string    `json:"agent"`
	Requester Requester `json:"requester"`
	Ticket    string    `json:"ticket"`
}

// Resource is what an operation acts on.
type Resource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Batch places one operation in the batch it came in.
type Batch struct {
	Index int `json:"index"`
	Size  int `json:"size"`
}

// Operation is one admin-API call in its service's vocabulary, as the catalog names it.
type Operation struct {
	API       string            `json:"api"`      // "microsoft-graph"; "" when the host has no catalog
	Name      string            `json:"name"`     // "user.password.reset"; "" when unlisted
	Category  string            `json:"category"` // design §6.4
	Catalog   string            `json:"catalog"`  // "listed", "unlisted" or "none"
	Resource  Resource          `json:"resource"`
	Params    map[string]string `json:"params"`
	Sensitive bool              `json:"sensitive"`
	Summary   string            `json:"summary"`        // "Reset the password of bob@contoso.com"
	Undone    string            `json:"undone"`         // "The password of bob@contoso.com was not reset"
	Also      []string          `json:"also,omitempty"` // names of the other sensitive operations that the same call is
	Batch     *Batch            `json:"batch,omitempty"`
	// ChangesFactor says that the operation changes what somebody confirms with: whoever has that factor must not be asked
	// to confirm it by that same factor.
	ChangesFactor bool `json:"changes_factor,omitempty"`
}

// Request is the HTTP request behind an operation, in canonical form, secrets masked.
type Request struct {
	Method   string              `json:"method"`
	Host     string              `json:"host"`
	Path     string              `json:"path"`
	Segments []string            `json:"segments"`
	Query    map[string][]string `json:"query"`
	Headers  map[string][]string `json:"headers"` // lower-case names, credentials left out
	Body     any                 `json:"body"`    // decoded JSON or form; a string otherwise; nil when empty
	BodyKind string              `json:"body_kind"`
	Digest   Digest              `json:"digest"`
}

// Context is AuthZEN's context. Engine fills it in.
type Context struct {
	Time     time.Time `json:"time"`
	Revision string    `json:"revision"`
}

// Approver is the person who approved, by the name they were asked under and the provider's own id.
type Approver struct {
	ID          string `json:"id"`
	ImmutableID string `json:"immutable_id"`
}

// Evidence is proof of a verification, handed back to policy at release.
type Evidence struct {
	Hold        string    `json:"hold"`
	Provider    string    `json:"provider"`
	Transaction string    `json:"transaction"`
	Approver    Approver  `json:"approver"`
	AMR         []string  `json:"amr"`
	StartedAt   time.Time `json:"started_at"`
	ApprovedAt  time.Time `json:"approved_at"`
}

// Input is one document for the policy: one operation, who asks, and what is known. Design §6.4.
type Input struct {
	Subject   Subject   `json:"subject"`
	Operation Operation `json:"operation"`
	Request   Request   `json:"request"`
	Context   Context   `json:"context"`
	Evidence  *Evidence `json:"evidence"`
}
