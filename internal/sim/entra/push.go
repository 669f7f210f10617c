package entra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Push is one prompt that was shown, and what became of it.
type Push struct {
	SessionID, ContextID string
	UPN                  string
	Method               string
	CallerName           string
	Sync                 bool
	At                   time.Time
	Value                string // "" while the person has not answered
	SettledAt            time.Time
}

// session is one verification at the Connector. Not every session shows a prompt.
type session struct {
	Push
	prompt    bool
	challenge bool // waits for a code
	script    Script
	polls     int
	done      bool // the final answer was given
	logged    bool
	result    string // AuthenticationResult that goes with Value
}

// Pushes returns every prompt that was shown, oldest first.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Push
	for _, x := range s.order {
		if s.settleLocked(x); x.prompt {
			out = append(out, x.Push)
		}
	}
	return out
}

// PushesTo returns every prompt that was shown to one person, oldest first.
func (s *Server) PushesTo(upn string) []Push {
	var out []Push
	for _, p := range s.Pushes() {
		if strings.EqualFold(p.UPN, upn) {
			out = append(out, p)
		}
	}
	return out
}

// AwaitPush waits until n prompts have been shown to a person ("" is anybody) and returns the n-th.
func (s *Server) AwaitPush(ctx context.Context, upn string, n int) (Push, error) {
	var all []Push
	err := s.await(ctx, func() bool {
		if all = s.Pushes(); upn != "" {
			all = s.PushesTo(upn)
		}
		return len(all) >= n
	})
	if err != nil {
		return Push{}, err
	}
	return all[n-1], nil
}

// ErrNoPrompt says that nothing waits for the person's answer.
var ErrNoPrompt = errors.New("entra simulator: no prompt is open")

// Approve taps Approve on the oldest prompt that is open on a person's phone.
func (s *Server) Approve(upn string) error { return s.Answer(upn, "Success") }

// Deny taps Deny.
func (s *Server) Deny(upn string) error { return s.Answer(upn, "PhoneAppDenied") }

// ReportFraud says that the request was not theirs. Further prompts are refused with UserIsBlocked.
func (s *Server) ReportFraud(upn string) error { return s.Answer(upn, "PhoneAppFraudReported") }

// Ignore lets the oldest open prompt run out at once, as if its 60 seconds had passed.
func (s *Server) Ignore(upn string) error { return s.Answer(upn, "PhoneAppNoResponse") }

// Answer settles the oldest prompt that is open on a person's phone with any value.
func (s *Server) Answer(upn, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.order {
		if s.settleLocked(x); x.prompt && x.Value == "" && strings.EqualFold(x.UPN, upn) {
			s.setLocked(x, value, s.now())
			return nil
		}
	}
	return fmt.Errorf("%w for %s", ErrNoPrompt, upn)
}

// settleLocked applies the script and the clock.
func (s *Server) settleLocked(x *session) {
	if !x.prompt || x.Value != "" {
		return
	}
	value, due := x.dueLocked(s.o.PromptLifetime)
	if !s.now().Before(due) {
		s.setLocked(x, value, due)
	}
}

func (s *Server) setLocked(x *session, value string, at time.Time) {
	x.Value, x.SettledAt, x.result = value, at, x.script.Result
	if x.result == "" {
		x.result = fmt.Sprint(value == "Success")
	}
	if p := s.personLocked(x.UPN); p != nil && value == "PhoneAppFraudReported" {
		p.blocked = true
	}
	s.logLocked(x)
	s.wakeLocked()
}

// dueLocked returns how an open prompt ends by itself, and when.
func (x *session) dueLocked(lifetime time.Duration) (value string, at time.Time) {
	if x.script.Value != "" && (x.script.Late || x.script.After < lifetime) {
		return x.script.Value, x.At.Add(x.script.After)
	}
	return "PhoneAppNoResponse", x.At.Add(lifetime)
}

// waitSettled holds a synchronous Begin until the person has answered. It reports false when the caller left.
func (s *Server) waitSettled(ctx context.Context, x *session) bool {
	for {
		s.mu.Lock()
		s.settleLocked(x)
		settled, changed := x.Value != "", s.changed
		_, due := x.dueLocked(s.o.PromptLifetime)
		s.mu.Unlock()
		if settled {
			return true
		}
		t := time.NewTimer(max(due.Sub(s.now()), time.Millisecond))
		select {
		case <-t.C:
		case <-changed:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}
