package control

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"strings"

	"countersign/internal/hold"
	"countersign/internal/requester"
	"countersign/policy"
)

// Holds is what the API shows and changes.
type Holds interface {
	Get(ctx context.Context, id hold.ID) (hold.Record, error)
	Watch(ctx context.Context) iter.Seq2[hold.Change, error]
	Withdraw(ctx context.Context, id hold.ID, by string) error
	Blocked(ctx context.Context) ([]hold.Block, error)
	// Clear lets a person be pushed again; by is the operator, for the journal.
	Clear(ctx context.Context, person, by string) error
}

// Identifier says whom a request comes from.
type Identifier interface {
	Identify(ctx context.Context, request, connect http.Header) requester.Identity
}

// caller is who asks: an operator, or an agent on behalf of a requester. The zero value sees nothing.
type caller struct {
	operator bool
	identity requester.Identity
}

// caller establishes who asks. A request that presents neither token nor assertion is refused.
func (s *Server) caller(r *http.Request) (caller, error) {
	if s.isOperator(r) {
		return caller{operator: true}, nil
	}
	if s.o.Identify == nil {
		return caller{}, problem{http.StatusUnauthorized, "this route needs the operator's token"}
	}
	// The token's place is no place for an assertion, and no tunnel led here.
	id := s.o.Identify.Identify(r.Context(), r.Header, nil)
	if id.Subject.Requester.Assurance == policy.AssuranceNone || id.Subject.Requester.ID == "" {
		return caller{}, problem{http.StatusUnauthorized, "this route needs a valid requester assertion, or the operator's token"}
	}
	return caller{identity: id}, nil
}

// sees reports whether c may see r: operators see all, an agent what the same agent asked for the same requester. Who is
// only asserted sees nothing that was attested.
func (c caller) sees(r hold.Record) bool {
	if c.operator {
		return true
	}
	mine, theirs := c.identity.Subject, r.Subject
	return mine.Requester.ID != "" && strings.EqualFold(mine.Requester.ID, theirs.Requester.ID) &&
		mine.Requester.ObjectID == theirs.Requester.ObjectID && mine.Requester.TenantID == theirs.Requester.TenantID &&
		mine.Agent == theirs.Agent && mine.Requester.Assurance >= theirs.Requester.Assurance
}

// problem is an RFC 9457 problem: what a caller is told, and nothing else.
type problem struct {
	status int
	detail string
}

func (p problem) Error() string { return p.detail }

var errNoHold = problem{http.StatusNotFound, "there is no such hold, or it is not yours to see"}

func writeProblem(w http.ResponseWriter, p problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(struct { // the caller may be gone
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", http.StatusText(p.status), p.status, p.detail})
}

// answering writes what a handler returns as an error. Inner texts stay in the log.
func (s *Server) answering(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := f(w, r)
		p, told := errors.AsType[problem](err)
		switch {
		case err == nil || r.Context().Err() != nil:
		case told:
			writeProblem(w, p)
		case errors.Is(err, hold.ErrNotFound):
			writeProblem(w, errNoHold)
		case errors.Is(err, hold.ErrLedger):
			s.o.Logger.Error("control: ledger", "path", r.URL.Path, "error", err)
			writeProblem(w, problem{http.StatusServiceUnavailable, "the ledger cannot be reached"})
		default:
			s.o.Logger.Error("control: request failed", "path", r.URL.Path, "error", err)
			writeProblem(w, problem{http.StatusInternalServerError, "the sidecar failed; its log says why"})
		}
	})
}
