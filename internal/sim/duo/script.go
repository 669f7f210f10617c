package duo

import (
	"crypto/rand"
	"slices"
	"time"
)

// Person is somebody the simulated account knows.
type Person struct {
	Username string
	UserID   string   // made up when empty
	Devices  []Device // nil: one phone that takes pushes
	Script   Script
}

// Device is one of a person's devices.
type Device struct {
	ID, Type, Name, Number string
	Capabilities           []string // auto, push, sms, phone, mobile_otp
}

// Script is what the service and the person do when asked. The zero value asks by push and waits for Answer or the phone page.
type Script struct {
	Preauth      string        // result of preauth; "" is auth
	VerifiedPush bool          // preauth demands a code, as a policy of verified pushes does; a scripted approval has typed it
	Result       string        // the final result; "" leaves it to Answer
	Status       string        // the final status
	After        time.Duration // from the push to the final answer
	Waiting      int           // so many polls are answered "waiting" at once, without a long poll
	PushFailed   bool          // the push does not reach the phone; the person may still answer in the app
	PollEnds     bool          // a long poll without news ends with HTTP 400, code 40002
	UserID       bool          // final answers carry the person's user_id
	Faults       []Fault       // each used up in order, by path
}

// Approve is a person who approves after a second.
func Approve() Script { return Unknown("allow", "allow") }

// Deny is a person who declines.
func Deny() Script { return Unknown("deny", "deny") }

// Fraud is a person who says that the request was not theirs.
func Fraud() Script { return Unknown("deny", "fraud") }

// Ignore is a person who never answers: the push times out.
func Ignore() Script { return Script{} }

// LockedOut is a person whose account is locked by the time of the answer.
func LockedOut() Script { return Unknown("deny", "locked_out") }

// AllowBypass is an approval that nobody gave.
func AllowBypass() Script { return Unknown("allow", "bypass") }

// Refused is a person whom preauth denies.
func Refused() Script { return Script{Preauth: "deny"} }

// Bypass is a person whom preauth lets pass without a push.
func Bypass() Script { return Script{Preauth: "allow"} }

// Enroll is a person without a device.
func Enroll() Script { return Script{Preauth: "enroll"} }

// VerifiedPush is a person whose policy demands that a code be typed.
func VerifiedPush() Script { return Script{VerifiedPush: true, Result: "allow", Status: "allow"} }

// Throttle is a person whose rate limit is used up.
func Throttle() Script { return Script{Faults: []Fault{{Kind: Throttled}}} }

// Unknown settles a push after a second with any result and status.
func Unknown(result, status string) Script {
	return Script{Result: result, Status: status, After: time.Second}
}

// Kind is how an answer goes wrong.
type Kind uint8

// The kinds of fault.
const (
	Throttled   Kind = iota // HTTP 429, code 42901
	ServerError             // HTTP 500, code 50000
	BadGateway              // HTTP 502 with a page of HTML
	HTMLPage                // HTTP 200 with a page of HTML, as a captive portal answers
	Truncated               // HTTP 200 with half an envelope
	Reset                   // the connection ends without an answer
	Hang                    // no answer until the caller leaves
	Huge                    // HTTP 200 with a body that does not end
	Redirect                // HTTP Fault.Status, or 307, to Fault.Body
	Raw                     // HTTP Fault.Status with Fault.Body
)

// Fault spoils calls to one path.
type Fault struct {
	Path   string // "/auth/v2/auth", or "" for every path that names the person
	Kind   Kind
	Times  int    // 0: always
	Skip   int    // so many calls go well first
	Sent   bool   // the call takes effect, and only its answer is lost
	Status int    // Raw and Redirect
	Body   string // Raw and Redirect
}

type person struct {
	Person
	script  Script
	faulted []int
}

func newPerson(p Person) *person {
	if p.UserID == "" {
		p.UserID = "DU" + rand.Text()[:18]
	}
	if p.Devices == nil {
		p.Devices = []Device{{
			ID: "DP" + rand.Text()[:18], Type: "phone", Name: "Phone", Number: "XXX-XXX-0100",
			Capabilities: []string{"auto", "push", "sms", "phone", "mobile_otp"},
		}}
	}
	p.Devices = slices.Clone(p.Devices)
	return &person{Person: p, script: p.Script, faulted: make([]int, len(p.Script.Faults))}
}

// fault returns what spoils this call, if anything does, and counts it.
func (p *person) fault(path string) *Fault {
	for i, f := range p.script.Faults {
		if f.Path != "" && f.Path != path {
			continue
		}
		p.faulted[i]++
		if n := p.faulted[i]; n > f.Skip && (f.Times == 0 || n <= f.Skip+f.Times) {
			return &f
		}
	}
	return nil
}
