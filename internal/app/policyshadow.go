package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/audit"
	"countersign/internal/config"
	"countersign/policy"
	"countersign/proxy"
	"countersign/rego"
)

// Bounds of the shadow policy: it costs at most one core and this much memory, and when it falls behind it is skipped.
const (
	shadowDeadline = 250 * time.Millisecond // of one decision
	shadowQueue    = 128                    // decisions that wait to be evaluated
	shadowPatience = 10 * time.Second       // between a decision and its record; after that its caller has left
	shadowDrain    = 2 * time.Second        // for what waits when the sidecar stops
)

// What a record of the shadow policy says of its difference to the decision that counted.
const (
	shadowSame      = "as enforced"
	shadowDiffers   = "differs from what is enforced"
	shadowSkipped   = "not evaluated: the shadow policy fell behind"
	shadowUndecided = "shadow_policy_failed"
)

// shadow stands between the proxy, its policy and its journal. It lets the enforced policy decide, and asks the candidate
// afterwards, apart from the exchange: what comes of that is a record and nothing else.
type shadow struct {
	enforced  proxy.Decider
	journal   proxy.Recorder
	candidate *policy.Engine
	log       *slog.Logger
	now       func() time.Time

	queue   chan shadowJob
	hurry   atomic.Bool // what is left is not evaluated any more
	stopped sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	waiting []shadowJob // decided, not yet recorded, oldest first
}

// shadowJob is one decision that the candidate is to be asked about.
type shadowJob struct {
	at       time.Time
	inputs   []policy.Input
	enforced string      // its effect
	record   audit.Event // what the candidate's answer is written into
}

var (
	_ proxy.Decider  = (*shadow)(nil)
	_ proxy.Recorder = (*shadow)(nil)
)

// newCandidate makes the engine of policy.shadow: what is enforced, and the candidates' files on top.
func newCandidate(c config.Config, log *slog.Logger) (*policy.Engine, error) {
	served, err := bundleOf(c)
	if err != nil {
		return nil, err
	}
	if served != nil {
		served.Dir = "" // the enforced policy keeps it
	}
	return policy.New(policy.Options{
		Base: rego.Policies(), Bundle: served, Paths: slices.Concat(c.Policy.Paths, c.Policy.Shadow), Settings: policySettings(c),
		Deadline: shadowDeadline, Logger: log.With(slog.String("policy", "shadow")),
	})
}

func newShadow(enforced proxy.Decider, journal proxy.Recorder, candidate *policy.Engine, log *slog.Logger) *shadow {
	s := &shadow{enforced: enforced, journal: journal, candidate: candidate, log: log, now: time.Now, queue: make(chan shadowJob, shadowQueue)}
	s.stopped.Go(s.work)
	return s
}

// DecideAll answers what the enforced policy does.
func (s *shadow) DecideAll(ctx context.Context, ins []policy.Input) ([]policy.Decision, error) {
	ds, err := s.enforced.DecideAll(ctx, ins)
	if len(ins) == 0 {
		return ds, err
	}
	job := shadowJob{at: s.now(), inputs: slices.Clone(ins), enforced: policy.Deny.String()}
	if err == nil && len(ds) > 0 {
		job.enforced = policy.Combine(ds).Effect.String()
	}
	if e := ins[0].Evidence; e != nil { // at release no decision is recorded that this one could join
		job.record = audit.Event{Kind: audit.Shadowed, Hold: e.Hold, Digest: &ins[0].Request.Digest}
		s.ask(ctx, job)
		return ds, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && (len(s.waiting) >= shadowQueue || job.at.Sub(s.waiting[0].at) > shadowPatience) {
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
	s.waiting = append(s.waiting, job)
	return ds, err
}

// Record writes e, and if it is a decision asks the candidate about it.
func (s *shadow) Record(ctx context.Context, e audit.Event) error {
	if err := s.journal.Record(ctx, e); err != nil {
		return err
	}
	s.recorded(ctx, e)
	return nil
}

// Append writes e, and if it is a decision asks the candidate about it.
func (s *shadow) Append(ctx context.Context, e audit.Event) error {
	if err := s.journal.Append(ctx, e); err != nil {
		return err
	}
	s.recorded(ctx, e)
	return nil
}

func (s *shadow) recorded(ctx context.Context, e audit.Event) {
	if e.Kind != audit.Decision || e.Digest == nil {
		return
	}
	if job, ok := s.take(e); ok {
		job.record = audit.Event{
			Kind: audit.Shadowed, Exchange: e.Exchange, Listener: e.Listener, Method: e.Method, Host: e.Host, Path: e.Path, Digest: e.Digest,
		}
		s.ask(ctx, job)
	}
}

// take finds the decision that a record is about. Of several about the same call by the same requester any will do.
func (s *shadow) take(e audit.Event) (shadowJob, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.waiting, func(j shadowJob) bool {
		in := j.inputs[0]
		return in.Request.Digest == *e.Digest && (e.Subject == nil || e.Subject.Requester.ID == in.Subject.Requester.ID && e.Subject.Agent == in.Subject.Agent)
	})
	if i < 0 {
		return shadowJob{}, false
	}
	job := s.waiting[i]
	s.waiting = slices.Delete(s.waiting, i, i+1)
	return job, true
}

// ask queues a job, and where the queue is full records that it was skipped.
func (s *shadow) ask(ctx context.Context, job shadowJob) {
	s.mu.Lock()
	full := s.closed
	if !full {
		select {
		case s.queue <- job:
		default:
			full = true
		}
	}
	s.mu.Unlock()
	if full {
		job.record.Warning = shadowSkipped
		s.write(ctx, job.record)
	}
}

// work evaluates until the queue is closed and empty.
func (s *shadow) work() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for job := range s.queue {
		if s.hurry.Load() {
			job.record.Warning = shadowSkipped
			s.write(ctx, job.record)
			continue
		}
		s.write(ctx, s.evaluate(ctx, job))
	}
}

func (s *shadow) evaluate(ctx context.Context, job shadowJob) audit.Event {
	e := job.record
	ds, err := s.candidate.DecideAll(ctx, job.inputs)
	if err != nil {
		e.Code, e.Revision, e.Detail = shadowUndecided, s.candidate.Revision(), why(err)
		return e
	}
	d := policy.Combine(ds)
	e.Effect, e.Reasons, e.Revision, e.Detail = d.Effect.String(), d.Reasons, d.Revision, shadowSame
	if e.Effect != job.enforced {
		e.Detail = shadowDiffers
	}
	return e
}

// why names the kind of a failure. Its text is for the log: it may hold what a journal must not.
func why(err error) string {
	switch {
	case errors.Is(err, policy.ErrMalformed):
		return "malformed decision"
	case errors.Is(err, policy.ErrUndefined):
		return "undefined decision"
	case errors.Is(err, context.DeadlineExceeded):
		return "too late"
	default:
		return "unavailable"
	}
}

// write records what the candidate answers. That it cannot be recorded changes nothing for anybody.
func (s *shadow) write(ctx context.Context, e audit.Event) {
	e.Shadow = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.journal.Append(ctx, e); err != nil {
		s.log.Error("shadow decision not recorded", slog.Any("error", err))
	}
}

// Close ends the evaluation of what waits, within bounds, and returns when nothing more is written.
func (s *shadow) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	late := time.AfterFunc(shadowDrain, func() { s.hurry.Store(true) })
	s.stopped.Wait()
	late.Stop()
}

// ready says for readiness that the candidate is not evaluated. The enforced policy decides all the same.
func (s *shadow) ready() error {
	if err := s.candidate.Ready(); err != nil {
		return fmt.Errorf("shadow: %w", err)
	}
	return nil
}
