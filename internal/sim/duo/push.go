package duo

import (
	"errors"
	"net/url"
	"strings"
	"time"
)

// Push is one push that was sent to a phone.
type Push struct {
	TxID            string    `json:"txid"`
	Username        string    `json:"username"`
	Device          string    `json:"device"`
	Type            string    `json:"type"`
	DisplayUsername string    `json:"display_username"`
	Info            []Pair    `json:"info"` // pushinfo, decoded, in its order
	SentAt          time.Time `json:"sent_at"`
	ExpiresAt       time.Time `json:"expires_at"`
	Result          string    `json:"result"` // waiting until it is settled
	Status          string    `json:"status"`
	Verified        bool      `json:"verified,omitempty"` // the phone asks for the code that preauth gave out
}

// Pair is one line of what the phone shows.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// push is a Push with its state. Everything in it is guarded by Server.mu.
type push struct {
	Push
	script  Script
	code    string // of a verified push: what has to be typed
	userID  string
	version int // grows with each change
	told    int // version that auth_status last answered
	quick   int // answers given at once because Script.Waiting says so
}

// code is what preauth gave out for a push that is to come.
type code struct {
	username, digits string
	expires          time.Time
}

func (p *push) final() bool { return p.Result != "waiting" }

func (p *push) set(result, status string) {
	p.Result, p.Status = result, status
	p.version++
}

func (p *push) view() Push {
	v := p.Push
	v.Info = append([]Pair(nil), p.Info...)
	return v
}

func (s *Server) pushLocked(txid string) *push {
	for _, p := range s.pushes {
		if p.TxID == txid {
			return p
		}
	}
	return nil
}

// settleLocked lets the script and the clock have their way with a push: whichever comes first.
func (s *Server) settleLocked(p *push) {
	if p.final() {
		return
	}
	now := s.now()
	answer := p.SentAt.Add(p.script.After)
	switch scripted := p.script.Result != ""; {
	case scripted && !answer.After(now) && answer.Before(p.ExpiresAt):
		p.set(p.script.Result, p.script.Status)
	case !p.ExpiresAt.After(now):
		p.set("deny", "timeout")
	}
}

// nextLocked is how long it takes until settleLocked would change something.
func (s *Server) nextLocked(p *push) time.Duration {
	next := p.ExpiresAt
	if answer := p.SentAt.Add(p.script.After); p.script.Result != "" && answer.Before(next) {
		next = answer
	}
	return max(next.Sub(s.now()), time.Millisecond)
}

var errPushInfo = errors.New("pushinfo is not URL-encoded pairs")

func parseInfo(s string) ([]Pair, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) >= 20000 {
		return nil, errPushInfo
	}
	var out []Pair
	for part := range strings.SplitSeq(s, "&") {
		k, v, ok := strings.Cut(part, "=")
		name, errK := url.QueryUnescape(k)
		value, errV := url.QueryUnescape(v)
		if !ok || errK != nil || errV != nil {
			return nil, errPushInfo
		}
		out = append(out, Pair{name, value})
	}
	return out, nil
}
