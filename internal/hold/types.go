// Package hold keeps operations that wait for a person. A hold runs by itself: exchanges attach to it by its key
// and leave, and only an approval redeemed once, for exactly the bytes approved, lets one go on.
package hold

import (
	"errors"
	"fmt"
	"time"

	"countersign/policy"
)

// State is where a hold stands. The zero value is not a state and permits nothing.
type State uint8

// The states of design §2. Pending and Approved are live, all others final.
const (
	Unopened State = iota
	Pending
	Approved
	Spent
	Denied
	TimedOut
	Fraud
	NotEnrolled
	LockedOut
	Unavailable
	Withdrawn
	Expired // approved, never redeemed
)

// ID names a hold: 128 random bits in hexadecimal.
type ID string

// Request is what an exchange wants held. Digest, requester, agent, ticket and channel make the hold key.
type Request struct {
	Exchange   string
	API        string
	Digest     policy.Digest
	Subject    policy.Subject
	Channel    string
	Operations []policy.Operation // the sensitive ones, strictest first; at most five
	Summary    string             // title of the challenge
	Decision   policy.Decision
}

// Record is a hold as the ledger has it. It holds nothing of the request but its digest and what the person is shown.
type Record struct {
	ID          ID                 `json:"id"`
	Key         string             `json:"key"`
	State       State              `json:"state"`
	Digest      policy.Digest      `json:"digest"`
	Subject     policy.Subject     `json:"subject"`
	Channel     string             `json:"channel,omitempty"`
	API         string             `json:"api"`
	Summary     string             `json:"summary"`
	Operations  []policy.Operation `json:"operations"`
	Requirement policy.Requirement `json:"requirement"`
	Provider    string             `json:"provider,omitempty"`
	Transaction string             `json:"transaction,omitempty"`
	PromptURL   string             `json:"prompt_url,omitempty"` // page where the person answers, fit to be told to anybody
	Evidence    *policy.Evidence   `json:"evidence,omitempty"`
	Revision    string             `json:"revision"` // of the policy that asked
	OpenedAt    time.Time          `json:"opened_at"`
	ExpiresAt   time.Time          `json:"expires_at"` // when the verification gives up
	SettledAt   time.Time          `json:"settled_at,omitzero"`
	SpentAt     time.Time          `json:"spent_at,omitzero"`
	AnsweredAt  time.Time          `json:"answered_at,omitzero"` // after Spent: the upstream's answer is known
	Delivered   bool               `json:"delivered"`            // a caller has been given the outcome

	// OwnFactors names the APIs among whose operations here is one that changes the requester's own factor, or may.
	OwnFactors []string `json:"own_factors,omitempty"`

	// Accounts are the documents of the provider's account that was asked, beside the requester's own.
	Accounts []string `json:"accounts,omitempty"`

	Exchange   string        `json:"exchange,omitempty"` // that opened it
	Resume     time.Duration `json:"resume"`             // how long it outlives its caller, and an approval its moment
	Owner      string        `json:"owner,omitempty"`    // the desk that waits for the person
	Caller     string        `json:"caller,omitempty"`   // the attachment of a live caller; empty: nobody is attached
	LeftAt     time.Time     `json:"left_at,omitzero"`   // when the last caller left; zero while one is attached
	Async      bool          `json:"async,omitempty"`    // a caller left and said that it will come back: it is kept until its end
	AskedAt    time.Time     `json:"asked_at,omitzero"`  // when the provider accepted the challenge
	Detail     string        `json:"detail,omitempty"`   // the provider's own word, or a constant of ours
	By         string        `json:"by,omitempty"`       // the operator who withdrew it
	Blocked    *BudgetError  `json:"blocked,omitempty"`  // why a withdrawn hold could not push
	Redeemer   string        `json:"redeemer,omitempty"` // the desk that spent it
	RedeemedBy string        `json:"redeemed_by,omitempty"`
	Escalated  bool          `json:"escalated,omitempty"` // a technician really was notified
}

var (
	// ErrDuplicate: an identical request is attached already, or its redemption is still on the way.
	ErrDuplicate = errors.New("hold: duplicate in flight")
	// ErrExhausted: there are max_holds holds.
	ErrExhausted = errors.New("hold: too many holds")
	// ErrDraining: the sidecar is stopping.
	ErrDraining = errors.New("hold: draining")
	// ErrOutcomeUnknown: redeemed before a crash, answer never recorded, less than ten minutes ago.
	ErrOutcomeUnknown = errors.New("hold: outcome unknown")
	// ErrSpent: somebody else redeemed the approval, or it does not name these bytes or this state.
	ErrSpent = errors.New("hold: approval spent")
	// ErrLedger: the ledger failed, so nothing can be said and nothing may be released.
	ErrLedger = errors.New("hold: ledger unavailable")
	// ErrUnauthentic: a document in the ledger was not written by a holder of its key, or not for this place. It is an ErrLedger: nothing
	// may be concluded from such a document, least of all that there is none.
	ErrUnauthentic = fmt.Errorf("%w: document is not authentic", ErrLedger)
	// ErrJournal: the journal failed, so nothing was done.
	ErrJournal = errors.New("hold: journal unavailable")
	// ErrExpired: the approval was not redeemed in time. Errors that wrap it wrap ErrSpent too.
	ErrExpired = errors.New("hold: approval expired")
	// ErrNotFound: there is no such hold, or not any more.
	ErrNotFound = errors.New("hold: not found")
	// ErrRequest: the request cannot be held: no digest, nobody to ask, no requirement, or too large.
	ErrRequest = errors.New("hold: cannot hold this request")
	// ErrTransition: the hold is not in a state in which that can happen.
	ErrTransition = errors.New("hold: impossible transition")
	// ErrNoProvider: no provider is configured that could meet the requirement.
	ErrNoProvider = errors.New("hold: no provider")
)
