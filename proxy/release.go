package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/refusal"
	"countersign/policy"
)

// release lets an approved call go: policy is asked again, the upstream connected, the redemption recorded, the approval
// spent, and only then the first octet written, in that order (design §3.10-11).
func (s *Server) release(ctx context.Context, ex *exchange, w http.ResponseWriter) error {
	if err := ex.takeUp(); err != nil {
		return err
	}
	evidence := ex.hold.Evidence
	if evidence == nil || !ex.hold.Digest.Equal(ex.call.Digest) {
		return &refusal.Error{Code: refusal.ApprovalSpent}
	}
	if err := s.judge(ctx, ex, evidence); err != nil {
		return err
	}
	ex.again, ex.shed = true, nil
	if err := s.released(ex, evidence); err != nil {
		return err
	}
	conn, err := s.o.Upstream.Connect(ctx, ex.host, "443")
	if err != nil {
		return upstreamRefusal(ctx, err, false)
	}
	defer conn.Close()
	if ex.outlived(time.Now()) {
		return &refusal.Error{Code: refusal.RequestExpired}
	}
	if err := ex.redeemed(ctx, evidence); err != nil {
		return err
	}
	rec, err := s.o.Holder.Redeem(ctx, ex.hold.ID, ex.call.Digest, ex.id)
	if err != nil {
		return ex.holdFailed(ctx, err)
	}
	ex.hold.State = rec.State
	return s.send(ctx, ex, conn, w)
}

// outlived reports whether the call's own signature was good when the call came and is not any more: upstream would refuse
// it, and the approval would be gone. Unspent, it releases the same call signed afresh. A signature that was too old from the
// start, by our clock, is for upstream to judge.
func (ex *exchange) outlived(now time.Time) bool {
	until := ex.call.SignedUntil
	return !until.IsZero() && !ex.began.After(until) && now.After(until)
}

// errCutOff marks a call that was cut off because the sidecar stops.
var errCutOff = errors.New("proxy: cut off by shutdown")

// released reports whether the second decision lets the call go. Evidence does not turn step_up into allow: either the rule
// is gone, or this evidence meets what is asked for now.
func (s *Server) released(ex *exchange, evidence *policy.Evidence) error {
	switch d := ex.decision; d.Effect {
	case policy.Allow:
		return nil
	case policy.StepUp:
		if d.Requirement != nil && d.Requirement.MetBy(evidence, ex.identity.Subject.Requester.ID, time.Now(), s.o.Resume) {
			return nil
		}
		return &refusal.Error{Code: refusal.RequirementChanged}
	case policy.Deny:
		return denial(d)
	default:
		return denial(d)
	}
}

// redeemed records, on disk, that the approval is about to be spent.
func (ex *exchange) redeemed(ctx context.Context, evidence *policy.Evidence) error {
	e := ex.event(audit.Redeemed)
	e.Digest, e.Evidence, e.Revision = &ex.call.Digest, evidence, ex.decision.Revision
	e.Provider, e.Transaction = ex.hold.Provider, ex.hold.Transaction
	if ex.hold.Revision != e.Revision { // the policy was reloaded, or another replica with another one asked
		e.Asked = ex.hold.Revision
	}
	within, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := ex.s.o.Recorder.Record(within, e); err != nil {
		return ex.holdFailed(ctx, fmt.Errorf("%w: %w", hold.ErrJournal, err))
	}
	return nil
}

// send writes a redeemed call and streams its answer back. A caller who leaves before the answer is known no longer stops
// it: the approval is spent, and the journal is to have what became of it.
func (s *Server) send(ctx context.Context, ex *exchange, conn FreshConn, w http.ResponseWriter) error {
	sending, end := context.WithCancelCause(context.WithoutCancel(ctx))
	cancel := func() { end(context.Canceled) }
	defer cancel()
	unhook := context.AfterFunc(s.cut, func() { end(errCutOff) })
	defer unhook()
	limit := time.AfterFunc(answerTime, cancel)
	resp, err := conn.RoundTrip(ex.request(sending)) //nolint:bodyclose // answer closes it
	limit.Stop()
	if markErr := s.o.Holder.Answered(context.WithoutCancel(ctx), ex.hold.ID); markErr != nil {
		// An identical request is refused as a duplicate until the desk gives the redemption up.
		s.o.Logger.Error("redeemed call's answer not noted", "exchange", ex.id, "hold", string(ex.hold.ID), "error", markErr)
	}
	if err != nil && errors.Is(context.Cause(sending), errCutOff) {
		return &refusal.Error{Code: refusal.OutcomeUnknown, Sent: true, Err: err}
	}
	if err != nil {
		return upstreamRefusal(sending, err, true)
	}
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	ex.outcome = true
	return ex.answer(w, resp)
}
