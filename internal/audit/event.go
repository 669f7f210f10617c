// Package audit is the journal: what was decided, held, redeemed and done, in a hash-chained file of JSON Lines
// that is on disk before the effect it describes (invariant I9).
package audit

import (
	"time"

	"countersign/policy"
)

// Kinds of event. An exchange has Decision, if held Redeemed, and Completed, joined by Exchange.
const (
	Started    = "started"  // the sidecar began to serve
	Stopped    = "stopped"  // and ended in order
	Decision   = "decision" // what policy or the engine said of an exchange, before anything is done about it
	HoldOpened = "hold.opened"
	HoldAsked  = "hold.asked"      // the provider accepted the challenge
	HoldEnded  = "hold.settled"    // approved, denied, timed_out, …: State says
	Redeemed   = "redeemed"        // an approval is about to be spent
	Shadowed   = "decision.shadow" // what a policy that is not enforced would have said
	Completed  = "completed"       // the answer has been given
	Escalation = "escalation.requested"
	Policy     = "policy.loaded" // or refused: Code says
	Checked    = "plan.checked"  // an agent asked what a plan would need
	Unblocked  = "person.unblocked"
	Seen       = "verification.corroborated" // what the provider's own records say of an approval, some time after it

	// Written by the journal itself.
	Opened    = "journal.opened"    // first record of every file
	Recovered = "journal.recovered" // what a crash or a failing disk left half-written was cut off: Bytes says how much
)

// Event is one record. Only what is listed here can be written, so that nothing secret finds a way in: bodies,
// header values, query values and error texts have no field.
type Event struct {
	Kind     string    `json:"kind"`
	Time     time.Time `json:"time"`               // set by the journal when zero
	Exchange string    `json:"exchange,omitempty"` // id of the HTTP exchange
	Hold     string    `json:"hold,omitempty"`
	HoldKey  string    `json:"hold_key,omitempty"` // hash, so that a restart can tell an unfinished redemption

	Listener string `json:"listener,omitempty"` // proxy, reverse, …
	Peer     string `json:"peer,omitempty"`     // address of the caller
	Method   string `json:"method,omitempty"`
	Host     string `json:"host,omitempty"`
	Path     string `json:"path,omitempty"` // canonical, without query; empty when it could not be read

	Subject    *policy.Subject    `json:"subject,omitempty"`
	JTI        string             `json:"jti,omitempty"` // of the requester assertion
	Channel    string             `json:"channel,omitempty"`
	Operations []policy.Operation `json:"operations,omitempty"`
	Digest     *policy.Digest     `json:"digest,omitempty"`
	Effect     string             `json:"effect,omitempty"`
	Reasons    []policy.Reason    `json:"reasons,omitempty"`
	Revision   string             `json:"revision,omitempty"`       // of the policy
	Asked      string             `json:"asked_revision,omitempty"` // of the policy that asked the person, in Redeemed, if that was another

	State       string           `json:"state,omitempty"` // of the hold
	Provider    string           `json:"provider,omitempty"`
	Transaction string           `json:"transaction,omitempty"`
	Evidence    *policy.Evidence `json:"evidence,omitempty"`
	Detail      string           `json:"detail,omitempty"` // a provider's own word, or a constant of ours

	Code     string `json:"code,omitempty"`   // refusal code
	Status   int    `json:"status,omitempty"` // given to the caller
	Upstream int    `json:"upstream,omitempty"`
	Bytes    int64  `json:"bytes,omitempty"`
	Millis   int64  `json:"ms,omitempty"`
	Shadow   bool   `json:"shadow,omitempty"` // recorded, not enforced
	Warning  string `json:"warning,omitempty"`

	Chain string `json:"chain,omitempty"` // id of the journal, in Opened; files of one chain share it
}
