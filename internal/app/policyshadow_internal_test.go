package app

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
	"countersign/internal/config"
	"countersign/policy"
)

// allowing is an enforced policy that allows everything.
type allowing struct{}

func (allowing) DecideAll(_ context.Context, ins []policy.Input) ([]policy.Decision, error) {
	return make([]policy.Decision, len(ins)), nil
}

// notes is a journal in memory.
type notes struct {
	mu     sync.Mutex
	events []audit.Event
}

func (n *notes) Record(_ context.Context, e audit.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, e)
	return nil
}

func (n *notes) Append(ctx context.Context, e audit.Event) error { return n.Record(ctx, e) }

func candidateOf(t *testing.T, rule string) *policy.Engine {
	t.Helper()
	file := filepath.Join(t.TempDir(), "shadow.rego")
	if err := os.WriteFile(file, []byte("package countersign.rules\n"+rule), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := newCandidate(config.Config{
		Policy: config.Policy{UnlistedWrites: "step_up", Shadow: []string{file}}, Requester: config.Requester{Trust: "attested"},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	return e
}

func inputOf(n byte) policy.Input {
	return policy.Input{
		Operation: policy.Operation{Category: "read", Catalog: "unlisted"},
		Request:   policy.Request{Method: "GET", Digest: policy.Digest{n, 1}},
	}
}

// A flood must neither wait for the candidate nor pile up: what does not fit is skipped, and says so.
func TestAShadowPolicyThatFallsBehindIsSkipped(t *testing.T) {
	journal := &notes{}
	s := newShadow(allowing{}, journal, candidateOf(t, `deny contains {"code": "x", "text": "x"} if {
	sum([x | some x in numbers.range(1, 3000); some y in numbers.range(1, 3000); y == x]) == 1
}`), slog.New(slog.DiscardHandler))
	const calls = 250
	began := time.Now()
	for i := range calls {
		in := inputOf(byte(i))
		if _, err := s.DecideAll(t.Context(), []policy.Input{in}); err != nil {
			t.Fatal(err)
		}
		if err := s.Append(t.Context(), audit.Event{Kind: audit.Decision, Exchange: string(rune('A' + i)), Digest: &in.Request.Digest}); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took > 20*time.Second { // evaluating them all takes a minute
		t.Errorf("the calls waited for the candidate: %v", took)
	}
	s.Close()
	s.Close()
	skipped, seen := 0, map[string]int{}
	for _, e := range journal.events {
		if e.Kind == audit.Shadowed {
			seen[e.Exchange]++
			if e.Warning == shadowSkipped {
				skipped++
			}
		}
	}
	if len(seen) != calls || skipped < calls-shadowQueue-20 || skipped == calls {
		t.Errorf("%d of %d decisions have a shadow record, %d skipped", len(seen), calls, skipped)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%q has %d shadow records", id, n)
		}
	}
}

func TestDecisionsThatAreNeverRecordedAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &notes{}
		s := newShadow(allowing{}, journal, candidateOf(t, ""), slog.New(slog.DiscardHandler))
		defer s.Close()
		for i := range 2 * shadowQueue {
			_, _ = s.DecideAll(t.Context(), []policy.Input{inputOf(byte(i))})
		}
		if n := len(s.waiting); n != shadowQueue {
			t.Errorf("%d wait, want the newest %d", n, shadowQueue)
		}
		time.Sleep(shadowPatience + time.Second) //nolint:forbidigo // the fake clock of synctest
		_, _ = s.DecideAll(t.Context(), []policy.Input{inputOf(1)})
		if n := len(s.waiting); n != 1 {
			t.Errorf("%d wait after a while, want 1", n)
		}
	})
}

func TestTheDecisionAtReleaseIsShadowedUnderItsHold(t *testing.T) {
	journal := &notes{}
	s := newShadow(allowing{}, journal, candidateOf(t, `deny contains {"code": "x", "text": "x"} if input.evidence.provider == "duo"`), slog.New(slog.DiscardHandler))
	in := inputOf(7)
	in.Evidence = &policy.Evidence{Hold: "h1", Provider: "duo"}
	if _, err := s.DecideAll(t.Context(), []policy.Input{in}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if len(journal.events) != 1 || journal.events[0].Hold != "h1" || journal.events[0].Effect != "deny" || !journal.events[0].Shadow {
		t.Errorf("events = %+v", journal.events)
	}
}

// The proxy acts on what the enforced policy and the journal say; the candidate comes after both.
func TestAFailingJournalFailsTheRecordAndAsksNobody(t *testing.T) {
	s := newShadow(allowing{}, failing{}, candidateOf(t, ""), slog.New(slog.DiscardHandler))
	defer s.Close()
	in := inputOf(7)
	_, _ = s.DecideAll(t.Context(), []policy.Input{in})
	e := audit.Event{Kind: audit.Decision, Digest: &in.Request.Digest}
	if s.Record(t.Context(), e) == nil || s.Append(t.Context(), e) == nil {
		t.Error("a record that was not written was reported as written")
	}
}

type failing struct{}

func (failing) Record(context.Context, audit.Event) error { return context.DeadlineExceeded }
func (failing) Append(context.Context, audit.Event) error { return context.DeadlineExceeded }
