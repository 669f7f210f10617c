package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"countersign/internal/operation"
	"countersign/internal/refusal"
	"countersign/policy"
)

// maxSensitive is how many operations one challenge lists (design §6.4).
const maxSensitive = 5

// exchange takes a request from its destination to its answer: design §3, steps 3 to 12. What it calls while it waits for a
// person keeps nothing large in its frames: thousands of calls are held at once, each with a stack of its own.
func (s *Server) exchange(ctx context.Context, ex *exchange, to destination, w http.ResponseWriter, r *http.Request) error {
	ex.host, ex.target = to.host, to.target
	if err := s.deep.do(func() error { return s.decided(ctx, ex, w, r) }); err != nil {
		return err
	}
	switch {
	case ex.attached != nil:
	case ex.decision.Effect == policy.Allow:
		return s.pass(ctx, ex, w)
	default:
		return &refusal.Error{Code: refusal.Internal, Err: errors.New("proxy: neither allowed nor held")}
	}
	ex.shedLoad()
	s.o.Waiting(+1)
	err := s.await(ctx, ex)
	s.o.Waiting(-1)
	return s.waited(ctx, ex, w, err)
}

// decided reads a request and has policy decide. An error refuses it; without one it is allowed, or attached to its hold.
func (s *Server) decided(ctx context.Context, ex *exchange, w http.ResponseWriter, r *http.Request) error {
	if err := s.admissible(ex, r); err != nil {
		return err
	}
	var err error
	if ex.wait, err = s.waitFor(r.Header); err != nil {
		return err
	}
	ex.identity, ex.known = s.o.Identifier.Identify(ctx, r.Header, ex.connect), true
	if ex.body, err = s.readBody(w, r); err != nil {
		return err
	}
	ex.read = true
	ex.trailers = slices.ContainsFunc(r.Header["Te"], func(te string) bool { return strings.EqualFold(te, "trailers") })
	if err := ex.parse(); err != nil {
		return err
	}
	return s.gate(ctx, ex)
}

// parse makes the call of the request as it was received.
func (ex *exchange) parse() (err error) {
	ex.header = forwardable(ex.received)
	if ex.call, err = ex.s.o.Parser.Parse(operation.Request{
		Method: ex.method, Scheme: "https", Host: ex.host, Target: ex.target, Header: ex.header, Body: ex.body,
	}); err != nil {
		if u, ok := asUninspectable(err); ok {
			ex.resembles = u.Resembles
		}
		return unread(err)
	}
	return nil
}

// admissible refuses what no policy is asked about.
func (s *Server) admissible(ex *exchange, r *http.Request) error {
	switch {
	case !s.admit.Intercepts(ex.host):
		return &refusal.Error{Code: refusal.DestinationDenied}
	case upgrades(r):
		return &refusal.Error{Code: refusal.UpgradeUnsupported}
	case r.Method == http.MethodTrace:
		return malformed("TRACE would send credentials back")
	case !originForm(ex.target):
		return malformed("the target is not a path in ASCII")
	default:
		return nil
	}
}

// originForm reports whether a target can be sent on octet by octet: a path that no URL library takes for an authority.
func originForm(target string) bool {
	if !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") {
		return false
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

func unread(err error) *refusal.Error {
	e := &refusal.Error{Code: refusal.Uninspectable, Err: err}
	if u, ok := asUninspectable(err); ok {
		e.Detail = u.Why
		if u.Resembles != nil { // a name to go by; what was refused stays refused
			e.Undone = u.Resembles.Undone
		}
	}
	return e
}

// gate decides, records the decision, and lets the call go, attaches it to its hold or refuses it.
func (s *Server) gate(ctx context.Context, ex *exchange) error {
	if err := s.judge(ctx, ex, nil); err != nil {
		return err
	}
	switch ex.decision.Effect {
	case policy.Allow:
		return ex.decide(ctx, "")
	case policy.StepUp:
		if err := s.holdable(ex); err != nil {
			return ex.refused(ctx, err)
		}
		if err := ex.decide(ctx, ""); err != nil {
			return err
		}
		return s.attach(ctx, ex)
	case policy.Deny:
		return ex.refused(ctx, denial(ex.decision))
	default:
		return ex.refused(ctx, denial(ex.decision))
	}
}

// refused records a decision together with the refusal that follows from it.
func (ex *exchange) refused(ctx context.Context, e *refusal.Error) error {
	if err := ex.decide(ctx, e.Code); err != nil {
		return err
	}
	return e
}

// judge asks policy about every part of the call and keeps the answers. With evidence it asks for the second time.
func (s *Server) judge(ctx context.Context, ex *exchange, evidence *policy.Evidence) error {
	ins := slices.Clone(ex.call.Inputs)
	for i := range ins {
		ins[i].Subject, ins[i].Evidence = ex.identity.Subject, evidence
	}
	parts, err := s.o.Decider.DecideAll(ctx, ins)
	if err == nil && (len(parts) != len(ins) || len(ins) == 0) {
		err = fmt.Errorf("%w: %d answers for %d operations", policy.ErrMalformed, len(parts), len(ins))
	}
	if err != nil {
		if ctx.Err() != nil {
			return errGone
		}
		return &refusal.Error{Code: refusal.PolicyUnavailable, Err: err}
	}
	whole := parts[0]
	if ex.call.Batch || len(parts) > 1 {
		whole = policy.Combine(parts)
	}
	ex.decision, ex.parts = whole, parts
	return nil
}

// denial is the refusal of a call that policy denies, in the policy's own words.
func denial(d policy.Decision) *refusal.Error {
	e := &refusal.Error{Code: refusal.PolicyDenied}
	for _, r := range d.Reasons {
		switch r.Code {
		case string(refusal.NotSelf):
			return &refusal.Error{Code: refusal.NotSelf, Detail: r.Text}
		case string(refusal.Uninspectable):
			return &refusal.Error{Code: refusal.Uninspectable, Detail: r.Text}
		default:
			if e.Detail == "" {
				e.Detail = r.Text
			}
		}
	}
	return e
}

// holdable says why nobody can be asked about a call that needs a person.
func (s *Server) holdable(ex *exchange) *refusal.Error {
	q := ex.identity.Subject.Requester
	switch q.Assurance {
	case policy.AssuranceAttested:
	case policy.AssuranceAsserted:
		if !s.o.Asserted || s.needsAttested(ex) {
			return &refusal.Error{Code: refusal.RequesterNotAttested, Detail: "it needs a signed requester assertion, and a plain header does not do"}
		}
	case policy.AssuranceNone:
		return nobody(ex)
	default:
		return nobody(ex)
	}
	if q.ID == "" {
		return nobody(ex)
	}
	if ex.decision.Requirement == nil { // the policy package sees to it; without one nothing could be met
		return denial(policy.Decision{})
	}
	if len(ex.sensitive()) > maxSensitive {
		return &refusal.Error{
			Code:   refusal.Uninspectable,
			Detail: fmt.Sprintf("the batch has more than %d sensitive operations, which one prompt cannot show: send fewer at a time", maxSensitive),
		}
	}
	return nil
}

func nobody(ex *exchange) *refusal.Error {
	if ex.identity.Presented {
		return &refusal.Error{Code: refusal.RequesterNotAttested}
	}
	return &refusal.Error{Code: refusal.RequesterUnknown}
}

// needsAttested reports whether any part that needs a person needs an attested one. Policy's category counts beside the
// catalog's.
func (s *Server) needsAttested(ex *exchange) bool {
	for i, in := range ex.call.Inputs {
		if ex.parts[i].Effect != policy.Allow &&
			(s.o.NeedsAttested(in.Operation.Category) || s.o.NeedsAttested(ex.parts[i].Category)) {
			return true
		}
	}
	return false
}
