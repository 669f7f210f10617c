package holdmodel_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/holdmodel"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

// witness sees what a desk does to the ledger, the journal and the phone, in the order in which it does it.
type witness struct {
	hold.Ledger
	verdict providers.Verdict

	mu  sync.Mutex
	saw []string
}

func (w *witness) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saw = append(w.saw, what)
}

func (w *witness) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	w.mu.Lock() // whoever learns of it acts later
	defer w.mu.Unlock()
	rev, err := w.Ledger.Store(ctx, e)
	var doc struct {
		State       hold.State
		Transaction string
		AnsweredAt  time.Time `json:"answered_at"`
		Caller      string
		Delivered   bool
	}
	switch {
	case err != nil:
	case strings.HasPrefix(e.Key, "person."):
		w.saw = append(w.saw, "person")
	case !strings.HasPrefix(e.Key, "hold."):
	case json.Unmarshal(e.Value, &doc) != nil:
		w.saw = append(w.saw, "ledger unreadable")
	default:
		w.saw = append(w.saw, stored(doc.State.String(), map[string]bool{
			"no caller": doc.Caller == "", "asked": doc.Transaction != "" && doc.State == hold.Pending,
			"answered": !doc.AnsweredAt.IsZero(), "delivered": doc.Delivered,
		}))
	}
	return rev, err
}

func stored(state string, is map[string]bool) string {
	out := "ledger " + state
	for _, what := range []string{"no caller", "asked", "answered", "delivered"} {
		if is[what] {
			out += ", " + what
		}
	}
	return out
}

func (w *witness) Record(_ context.Context, e audit.Event) error {
	w.note("journal " + e.Kind)
	return nil
}

func (w *witness) Start(_ context.Context, c providers.Challenge) (providers.Attempt, error) {
	w.note("push")
	return providers.Attempt{Asked: true, Transaction: "t" + c.HoldID}, nil
}

func (w *witness) Wait(ctx context.Context, _ string) (providers.Outcome, error) {
	if w.verdict == providers.TimedOut {
		<-ctx.Done()
		return providers.Outcome{}, ctx.Err()
	}
	return providers.Outcome{Verdict: w.verdict}, nil
}

// A desk and the model are given the same to do, and must do it in the same steps.
func TestTheModelTakesTheStepsThatTheCodeTakes(t *testing.T) {
	for _, v := range []providers.Verdict{providers.Approved, providers.Denied, providers.TimedOut} {
		t.Run(v.String(), func(t *testing.T) {
			c := holdmodel.Bounded()[0]
			c.Crashes, c.Departures, c.Exchanges, c.Verdicts = 0, 0, c.Exchanges[:1], []providers.Verdict{v}
			c.Moments = []time.Duration{0, 50 * time.Second, 100 * time.Second, 200 * time.Second}
			c.Timeout = 40 * time.Second // before a push ends by itself
			run, err := holdmodel.Run(c)
			if err != nil {
				t.Fatal(err)
			}
			if want, got := inWords(run), played(t, v); !slices.Equal(got, want) {
				t.Errorf("the code does\n\t%s\nand the model\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

// inWords keeps of a run what a witness sees.
func inWords(run []string) []string {
	var out []string
	for _, line := range run {
		for text, what := range map[string]string{
			"records the hold and starts it": "journal " + audit.HoldOpened, "takes the person's push": "person", "PUSHES": "push",
			"records that the person was asked": "journal " + audit.HoldAsked, "gives the person's push back": "person",
			"records its end": "journal " + audit.HoldEnded,
		} {
			if strings.Contains(line, text) {
				out = append(out, what)
			}
		}
		if _, doc, ok := strings.Cut(line, " -> "); ok {
			parts := strings.Split(doc, ", ")
			is := map[string]bool{}
			for _, p := range parts[2:] {
				is[p] = true
			}
			out = append(out, stored(parts[1], is))
		}
	}
	return out
}

// played lets one caller have one operation verified by a desk, and plays the proxy's part.
func played(t *testing.T, v providers.Verdict) []string {
	t.Helper()
	w := &witness{Ledger: ledger.NewMemory(), verdict: v}
	synctest.Test(t, func(t *testing.T) {
		d, err := hold.NewDesk(hold.Options{Ledger: w, Recorder: w, Verifiers: []hold.Named{{Name: "phone", Verifier: w}}, Timeout: 40 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		r := hold.Request{
			Exchange: "x1", Digest: policy.Digest{1}, Decision: policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester"}},
			Subject: policy.Subject{Agent: "agent", Requester: policy.Requester{ID: "kim", Assurance: policy.AssuranceAttested}},
		}
		a, err := d.Attach(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := a.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if rec.State == hold.Approved {
			if _, err := d.Redeem(t.Context(), rec.ID, r.Digest, "x1"); err != nil {
				t.Error(err)
			}
			if err := d.Answered(t.Context(), rec.ID); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait() // the runner first, as in the model's run
		a.Leave(true)
		if err := d.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return w.saw
}
