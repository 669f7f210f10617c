package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"countersign/internal/requester"
	"countersign/policy"
)

// Limits of a plan check: it is for an agent that is about to begin, not for finding out who exists.
const (
	maxPlanBody  = 1 << 20
	maxPlanSteps = 50
	planBurst    = 10              // checks at once by one requester and agent
	planEvery    = 6 * time.Second // and then one in this time
	maxLimited   = 10000           // requesters and agents that are counted apart
)

// Planner says what would become of the requests of a plan, sent by this identity. It sends none of them and asks nobody.
// The journal has the check before it returns. A *StepError is a request that cannot be read.
type Planner func(ctx context.Context, id requester.Identity, steps []json.RawMessage) ([]PlanStep, error)

// PlanStep is one request of a plan, judged. Its first members are those of `countersign check`.
type PlanStep struct {
	ID           string            `json:"id"`
	Effect       policy.Effect     `json:"effect"`
	API          string            `json:"api"`
	Operation    string            `json:"operation"`
	Category     string            `json:"category"`
	Summary      string            `json:"summary"`
	Reasons      []policy.Reason   `json:"reasons"`
	Catalog      string            `json:"catalog"`
	Verification *PlanVerification `json:"verification,omitempty"` // with step_up
}

// PlanVerification says who would be asked. It says nothing of why a person cannot be reached.
type PlanVerification struct {
	Approver  string `json:"approver"`
	Provider  string `json:"provider"`
	Reachable string `json:"reachable"` // "yes" or "no"
}

// StepError is a request of a plan that cannot be read. Its text is safe for the caller.
type StepError struct{ Text string }

func (e *StepError) Error() string { return e.Text }

// checkPlan answers POST /v1/check.
func (s *Server) checkPlan(w http.ResponseWriter, r *http.Request) error {
	if s.o.Identify == nil {
		return problem{http.StatusUnauthorized, "this route needs a signed requester assertion"}
	}
	id := s.o.Identify.Identify(r.Context(), r.Header, nil)
	if id.Subject.Requester.Assurance < policy.AssuranceAttested || id.Subject.Requester.ID == "" {
		return problem{http.StatusUnauthorized, "this route needs a signed requester assertion"}
	}
	if !s.plans.allow(strings.ToLower(id.Subject.Requester.ID) + "\x00" + id.Subject.Agent) {
		w.Header().Set("Retry-After", "6")
		return problem{http.StatusTooManyRequests, "too many plans were checked for this requester; try again in a few seconds"}
	}
	steps, err := planSteps(w, r)
	if err != nil {
		return err
	}
	judged, err := s.o.Plan(r.Context(), id, steps)
	if bad, ok := errors.AsType[*StepError](err); ok {
		return problem{http.StatusBadRequest, bad.Text}
	}
	if err != nil {
		return err
	}
	pushes := 0
	for _, step := range judged {
		if step.Effect == policy.StepUp {
			pushes++
		}
	}
	writeJSON(w, http.StatusOK, struct {
		Pushes   int        `json:"pushes"` // how many times the person would be asked
		Requests []PlanStep `json:"requests"`
	}{pushes, judged})
	return nil
}

func planSteps(w http.ResponseWriter, r *http.Request) ([]json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPlanBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, problem{http.StatusRequestEntityTooLarge, "a plan may have at most 1 MiB"}
		}
		return nil, problem{http.StatusBadRequest, "the body could not be read"}
	}
	var plan struct {
		Requests []json.RawMessage `json:"requests"`
	}
	if err := json.Unmarshal(body, &plan); err != nil {
		return nil, problem{http.StatusBadRequest, `the body must be JSON: {"requests": [{"id", "method", "url", "headers", "body"}]}`}
	}
	if n := len(plan.Requests); n == 0 || n > maxPlanSteps {
		return nil, problem{http.StatusBadRequest, "a plan has 1 to 50 requests"}
	}
	return plan.Requests, nil
}

// limiter bounds how often each key is allowed. The zero value is ready.
type limiter struct {
	mu   sync.Mutex
	keys map[string]*rate.Limiter
}

func (l *limiter) allow(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = map[string]*rate.Limiter{}
	}
	lim := l.keys[key]
	if lim == nil {
		if len(l.keys) >= maxLimited {
			l.dropIdleLocked()
		}
		if len(l.keys) >= maxLimited {
			return false
		}
		lim = rate.NewLimiter(rate.Every(planEvery), planBurst)
		l.keys[key] = lim
	}
	return lim.Allow()
}

// dropIdleLocked forgets who has all their checks left: a new limiter says the same of them.
func (l *limiter) dropIdleLocked() {
	for key, lim := range l.keys {
		if lim.Tokens() >= planBurst {
			delete(l.keys, key)
		}
	}
}
