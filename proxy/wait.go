package proxy

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/internal/refusal"
	"countersign/policy"
)

// waiting says how long a caller is kept.
type waiting struct {
	bounded bool
	longest time.Duration
	async   bool // the caller does not wait, and comes back by itself
}

// maxWaitSeconds bounds Countersign-Wait; nobody keeps a caller for longer than a day.
const maxWaitSeconds = 24 * 60 * 60

// waitFor reads Countersign-Wait, which can only shorten the wait. Where there is no control listener a Location would lead
// nowhere, and "async" is answered as 0 is: with 503 pending at once. An identical request finds the hold either way.
func (s *Server) waitFor(h http.Header) (waiting, error) {
	w := waiting{bounded: s.o.MaxWait > 0, longest: s.o.MaxWait}
	values := h.Values("Countersign-Wait")
	if len(values) == 0 {
		return w, nil
	}
	if len(values) > 1 {
		return w, malformed("Countersign-Wait is given more than once")
	}
	seconds := 0
	if values[0] != "async" {
		n, err := strconv.Atoi(values[0])
		if err != nil || n < 0 || n > maxWaitSeconds || !digits(values[0]) {
			return w, malformed("Countersign-Wait is neither a number of seconds nor async")
		}
		seconds = n
	}
	if asked := time.Duration(seconds) * time.Second; !w.bounded || asked < w.longest {
		w = waiting{bounded: true, longest: asked}
	}
	w.async = values[0] == "async" && s.o.HoldURL != nil
	return w, nil
}

// attach attaches the exchange to the hold of its call.
func (s *Server) attach(ctx context.Context, ex *exchange) error {
	att, err := s.o.Holder.Attach(ctx, hold.Request{
		Exchange: ex.id, API: ex.call.API, Digest: ex.call.Digest, Subject: ex.identity.Subject, Channel: ex.identity.Channel,
		Operations: ex.shown(), Summary: ex.summary(), Decision: ex.decision,
	})
	if err != nil {
		return ex.holdFailed(ctx, err)
	}
	ex.attached = att
	return nil
}

// shed is what a waiting exchange needs of what it has let go of.
type shed struct{ path, undone string }

// shedLoad lets go of all that can be made again from the request as it was received: it may wait for minutes, among
// thousands.
func (ex *exchange) shedLoad() {
	ex.shed = &shed{path: ex.path(), undone: ex.undone()}
	ex.call = operation.Call{API: ex.call.API, Digest: ex.call.Digest}
	ex.decision = policy.Decision{Effect: ex.decision.Effect, Revision: ex.decision.Revision}
	ex.header, ex.parts = nil, nil
}

// takeUp makes again what shedLoad let go of, but for the answers of policy.
func (ex *exchange) takeUp() error {
	digest := ex.call.Digest
	if err := ex.parse(); err != nil {
		return err
	}
	if !digest.Equal(ex.call.Digest) { // what was received cannot have changed; nothing else was approved
		return &refusal.Error{Code: refusal.ApprovalSpent}
	}
	return nil
}

// waited goes on with what the waiting came to.
//
//go:noinline
func (s *Server) waited(ctx context.Context, ex *exchange, w http.ResponseWriter, err error) error {
	rec := ex.attached.Record()
	ex.hold = &rec
	switch {
	case err == nil:
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && ex.wait.async:
		return ex.accept(w)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		return &refusal.Error{Code: refusal.Pending, Prompt: ex.hold.PromptURL}
	default:
		return ex.holdFailed(ctx, err)
	}
	if ex.hold.State == hold.Approved {
		return s.release(ctx, ex, w)
	}
	ex.outcome = true
	return outcome(rec)
}

// accept answers a caller that does not wait. The hold goes on until its own end.
func (ex *exchange) accept(w http.ResponseWriter) error {
	ex.attached.LeaveAsync()
	ex.code, ex.status, ex.wrote = refusal.Pending, http.StatusAccepted, true
	refusal.Accepted(w, string(ex.hold.ID), ex.s.o.HoldURL(ex.hold.ID))
	return nil
}

// await waits for the hold, as long as this caller is kept and the sidecar is not stopping. No interim response is sent:
// 1xx while waiting breaks clients (Python's http.client takes 102 for the answer).
func (s *Server) await(ctx context.Context, ex *exchange) error {
	if ex.wait.bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, ex.began.Add(ex.wait.longest)) // a ledger that had to be waited for counts too
		defer cancel()
	}
	ctx, wake := context.WithCancelCause(ctx)
	defer wake(nil)
	stop := context.AfterFunc(s.stopping, func() { wake(hold.ErrDraining) })
	defer stop()
	err := ex.attached.Settled(ctx)
	if err != nil && errors.Is(context.Cause(ctx), hold.ErrDraining) {
		err = hold.ErrDraining
	}
	return err
}

// holdFailed turns what a hold answers instead of an outcome into what the caller gets.
func (ex *exchange) holdFailed(ctx context.Context, err error) error {
	code := refusal.Internal
	if over, ok := errors.AsType[*hold.BudgetError](err); ok {
		return &refusal.Error{
			Code: refusal.BudgetExhausted, Requester: ex.identity.Subject.Requester.ID, Until: over.Until, Detail: over.Clause(), Err: err,
		}
	}
	switch {
	case errors.Is(err, hold.ErrDraining):
		code = refusal.Draining
	case errors.Is(err, hold.ErrDuplicate):
		code = refusal.DuplicateInFlight
	case errors.Is(err, hold.ErrOutcomeUnknown):
		code = refusal.OutcomeUnknown
	case errors.Is(err, hold.ErrExhausted):
		code = refusal.HoldsExhausted
	case errors.Is(err, hold.ErrExpired):
		code = refusal.ApprovalExpired
	case errors.Is(err, hold.ErrSpent):
		code = refusal.ApprovalSpent
	case ctx.Err() != nil && (errors.Is(err, hold.ErrLedger) || errors.Is(err, hold.ErrJournal)):
		return errors.Join(errGone, err) // nothing failed but the caller's patience
	case errors.Is(err, hold.ErrJournal):
		code = refusal.JournalUnavailable
	case errors.Is(err, hold.ErrNoProvider), errors.Is(err, hold.ErrLedger):
		code = refusal.Unavailable
	case ctx.Err() != nil:
		return errGone
	}
	return &refusal.Error{Code: code, Err: err}
}

// Outcome is the refusal that a settled hold comes to, as its caller is given it. Whatever is not known as approved is
// refused.
func Outcome(rec hold.Record) *refusal.Error {
	e := outcome(rec)
	e.Hold, e.Requester = string(rec.ID), rec.Subject.Requester.ID
	return e
}

func outcome(rec hold.Record) *refusal.Error {
	e := &refusal.Error{Code: refusal.Unavailable, Escalated: rec.Escalated}
	switch rec.State {
	case hold.Denied:
		e.Code = refusal.VerificationDenied
	case hold.TimedOut:
		e.Code = refusal.VerificationTimedOut
		if rec.AskedAt.IsZero() { // one push at a time: its turn never came
			e.Detail = "other verifications of the same person came first, and its time ran out"
		}
	case hold.Fraud:
		e.Code = refusal.VerificationFraud
	case hold.NotEnrolled:
		e.Code, e.Own = refusal.NotEnrolled, rec.Detail == hold.DetailOwnFactor
	case hold.LockedOut:
		e.Code = refusal.LockedOut
	case hold.Unavailable:
		e.Code = refusal.Unavailable
	case hold.Withdrawn:
		e.Code = refusal.Withdrawn
	case hold.Expired:
		e.Code = refusal.ApprovalExpired
	case hold.Spent:
		e.Code = refusal.ApprovalSpent
	case hold.Unopened, hold.Pending, hold.Approved:
		e.Code = refusal.Internal
	default:
		e.Code = refusal.Internal
	}
	return e
}

// shown returns the operations that the person is asked about, strictest first, as policy names them.
func (ex *exchange) shown() []policy.Operation {
	ops := ex.sensitive()
	slices.SortStableFunc(ops, func(a, b policy.Operation) int { return weight(a.Category) - weight(b.Category) })
	return ops
}

// weight orders categories, what matters most first. A category nobody knows matters most.
func weight(category string) int {
	return slices.Index([]string{
		"admin_privilege", "credential_reset", "permission_grant", "security_config", "account_creation", "read", "ordinary_write",
	}, category)
}

// summary is the title of the challenge.
func (ex *exchange) summary() string {
	ops := ex.shown()
	if len(ops) == 0 {
		return ex.decision.Summary
	}
	if len(ops) > 1 {
		return ops[0].Summary + " (and " + strconv.Itoa(len(ops)-1) + " more)"
	}
	return ops[0].Summary
}
