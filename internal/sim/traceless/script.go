package traceless

import (
	"crypto/rand"
	"fmt"
	"time"
)

// Challenge is one push that was sent to a phone.
type Challenge struct {
	Transaction, Email, Method, Message, Reference string
	SentAt, ExpiresAt                              time.Time
	Status                                         string // pending until it is settled
}

const pendingStatus = "pending"

// challenge is a Challenge with its script. Everything in it is guarded by Server.mu.
type challenge struct {
	Challenge
	script Script
}

// Script is what the service and the person do when asked. The zero value sends a push and waits for Answer.
type Script struct {
	Refuse    string        // the start is refused with HTTP 422 and this error; nobody is asked
	Bypass    bool          // nobody is asked, and the transaction says "bypassed" at once
	Status    string        // the final status; "" leaves it to Answer
	After     time.Duration // from the push to the final status
	Endless   bool          // the challenge never expires by itself
	Faults    []Fault       // each used up in order, by call
	Callbacks []Callback    // that are sent besides the one of Answer, if Options.Deliver is set
}

// Callback is one that is sent, as it should be or not.
type Callback struct {
	After        time.Duration // from the push
	Status       string        // that it claims; "": the true one
	Transaction  string        // that it names; "": the true one
	Organization string        // that it names; "": the true one
	Key          string        // that it is signed with; "": the right one
	Skew         time.Duration // of the time that is signed
	Times        int           // that the same octets are sent; 0: once
	Body         string        // in place of the true one
}

// Approve is a person who approves after a second.
func Approve() Script { return Ends("approved") }

// Deny is a person who declines.
func Deny() Script { return Ends("denied") }

// Fraud is a person who says that the request was not theirs.
func Fraud() Script { return Ends("fraud") }

// Ignore is a person who never answers: the challenge expires.
func Ignore() Script { return Script{} }

// NotEnrolled is a person without a factor.
func NotEnrolled() Script { return Script{Refuse: "not_enrolled"} }

// LockedOut is a person whose account is locked by the time of the answer.
func LockedOut() Script { return Ends("locked_out") }

// Ends settles a challenge after a second, with any status.
func Ends(status string) Script { return Script{Status: status, After: time.Second} }

// Kind is how an answer goes wrong.
type Kind uint8

// The kinds of fault.
const (
	Throttled         Kind = iota // HTTP 429, with Retry-After of Fault.Delay
	ServerError                   // HTTP 500
	BadGateway                    // HTTP 502 with a page of HTML
	HTMLPage                      // HTTP 200 with a page of HTML, as a captive portal answers
	Truncated                     // HTTP 200 with half an approval
	Reset                         // the connection ends without an answer
	Hang                          // no answer until the caller leaves
	Slow                          // the right answer, after Fault.Delay
	Huge                          // HTTP 200 with a body that does not end
	Redirect                      // HTTP 307 to Fault.Body
	Raw                           // HTTP Fault.Status with Fault.Body
	Duplicate                     // HTTP 200 with two statuses, pending and approved
	WrongTransaction              // HTTP 200, approved, another transaction
	WrongOrganization             // HTTP 200, approved, another organization
	WrongEmail                    // HTTP 200, approved, another person
	WrongMethod                   // HTTP 200, approved, by text message
	NotFound                      // HTTP 404, as from a replica that has not heard of it
	StillPending                  // HTTP 200, pending, whatever the person did
)

// The calls that a fault can spoil.
const (
	StartCall = "start"
	PollCall  = "poll"
)

// Fault spoils one kind of call.
type Fault struct {
	Call   string // StartCall, PollCall or "" for both
	Kind   Kind
	Times  int  // 0: always
	Skip   int  // so many calls go well first
	Sent   bool // a start takes effect, and only its answer is spoilt
	Delay  time.Duration
	Status int    // Raw
	Body   string // Raw and Redirect; {transaction}, {organization} and {email} are filled in
}

type person struct {
	script  Script
	faulted []int
}

// faultLocked returns what spoils this call, if anything does, and counts it.
func (p *person) faultLocked(call string) *Fault {
	for i, f := range p.script.Faults {
		if f.Call != "" && f.Call != call {
			continue
		}
		p.faulted[i]++
		if n := p.faulted[i]; n > f.Skip && (f.Times == 0 || n <= f.Skip+f.Times) {
			return &f
		}
	}
	return nil
}

func (s *Server) challengeLocked(transaction string) *challenge {
	for _, c := range s.challenges {
		if c.Transaction == transaction {
			return c
		}
	}
	return nil
}

// settleLocked lets the script and the clock have their way with a challenge: whichever comes first.
func (s *Server) settleLocked(c *challenge) {
	if c.Status != pendingStatus {
		return
	}
	now, answer := s.now(), c.SentAt.Add(c.script.After)
	switch {
	case c.script.Status != "" && !answer.After(now) && (c.script.Endless || answer.Before(c.ExpiresAt)):
		c.Status = c.script.Status
	case !c.script.Endless && !c.ExpiresAt.After(now):
		c.Status = "expired"
	}
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
