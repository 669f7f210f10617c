package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

// archive is a provider with records of its own.
type archive struct {
	providers.Verifier
	mu     sync.Mutex
	asked  []string
	at     []time.Time
	answer func(ctx context.Context) (string, error)
}

func (a *archive) Corroborate(ctx context.Context, p providers.Person, transaction string, at time.Time) (string, error) {
	a.mu.Lock()
	a.asked, a.at = append(a.asked, p.ID+" "+transaction+" "+at.UTC().Format(time.TimeOnly)), append(a.at, time.Now())
	a.mu.Unlock()
	return a.answer(ctx)
}

// looks returns what was looked up so far, and what the journal has.
func (a *archive) looks(n *notes) ([]string, []audit.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(a.asked), slices.Clone(n.events)
}

func approval(id hold.ID, provider string) (hold.Event, hold.Record) {
	return hold.Event{Kind: hold.EventSettled}, hold.Record{
		ID: id, State: hold.Approved, Provider: provider, Transaction: "tx-" + string(id),
		Subject:  policy.Subject{Requester: policy.Requester{ID: "alice@contoso.com"}},
		Evidence: &policy.Evidence{ApprovedAt: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)},
	}
}

func TestAnApprovalIsLookedUpTenMinutesLaterAndNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, log := &notes{}, &bytes.Buffer{}
		const said = "sign-in logged"
		answers := make(chan func() (string, error), 1)
		a := &archive{answer: func(context.Context) (string, error) { return (<-answers)() }}
		answers <- func() (string, error) { return said, nil }
		begun := time.Now()
		c := newCorroboration([]hold.Named{
			{Name: "plain", Verifier: struct{ providers.Verifier }{}},
			{Name: "m365", Verifier: a, Map: func(p providers.Person) (providers.Person, bool) { p.ID = "a.smith@contoso.com"; return p, true }},
		}, journal, ledger.NewMemory(), slog.New(slog.NewTextHandler(log, nil)))
		c.observe(approval("h1", "m365"))
		c.observe(approval("h2", "plain"))
		for _, state := range []hold.State{hold.Pending, hold.Denied, hold.TimedOut, hold.Unavailable} {
			e, r := approval("h3", "m365")
			r.State = state
			c.observe(e, r)
		}
		e, r := approval("h4", "m365")
		e.Kind = hold.EventRedeemed
		c.observe(e, r)
		time.Sleep(corroborateAfter - time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if asked, events := a.looks(journal); len(asked)+len(events) != 0 {
			t.Fatalf("looked up %v after %v", asked, time.Since(begun))
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		asked, events := a.looks(journal)
		if len(asked) != 1 || asked[0] != "a.smith@contoso.com tx-h1 10:00:00" {
			t.Fatalf("looked up %v, want the one approval", asked)
		}
		if len(events) != 1 || events[0].Kind != audit.Seen || events[0].Hold != "h1" || events[0].Provider != "m365" || events[0].Detail != said {
			t.Errorf("journal = %+v", events)
		}

		answers <- func() (string, error) { return "", errors.New("HTTP 403") }
		c.observe(approval("h5", "m365"))
		time.Sleep(corroborateAfter) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		answers <- func() (string, error) { return "", nil }
		c.observe(approval("h6", "m365"))
		time.Sleep(corroborateAfter) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		c.close()
		if _, events := a.looks(journal); len(events) != 2 || events[1].Detail != "could not be looked up" || !strings.Contains(log.String(), "h5") {
			t.Errorf("journal = %+v, log %s", events, log)
		}
	})
}

func TestAStopDoesNotWaitForWhatIsStillToBeLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &notes{}
		a := &archive{answer: func(ctx context.Context) (string, error) { <-ctx.Done(); return "late", ctx.Err() }}
		c := newCorroboration([]hold.Named{{Name: "m365", Verifier: a}}, journal, ledger.NewMemory(), slog.New(slog.DiscardHandler))
		for i := range corroborateQueue + 10 { // never blocks
			c.observe(approval(hold.ID(fmt.Sprintf("h%d", i)), "m365"))
		}
		time.Sleep(corroborateAfter + time.Second) //nolint:forbidigo // the bubble's clock
		begun := time.Now()
		c.close()
		c.close()
		if time.Since(begun) != 0 || len(a.asked) != 1 || len(journal.events) != 0 {
			t.Errorf("stopped after %v with %d looks and %v", time.Since(begun), len(a.asked), journal.events)
		}
	})
}

func TestWhatWaitsIsLookedUpAfterARestartAndOnce(t *testing.T) {
	for name, stop := range map[string]time.Duration{"before it was due": 2 * time.Minute, "while it was asked": corroborateAfter + time.Second} {
		synctest.Test(t, func(t *testing.T) {
			m, journal := ledger.NewMemory(), &notes{}
			hangs := &archive{answer: func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }}
			first := newCorroboration([]hold.Named{{Name: "m365", Verifier: hangs}}, journal, m, slog.New(slog.DiscardHandler))
			e, r := approval("h1", "m365")
			r.Subject.Ticket, r.Subject.Requester.Email = "T-1042", "a.smith@example.com"
			first.observe(e, r)
			time.Sleep(stop) //nolint:forbidigo // the bubble's clock
			first.close()
			if len(journal.events) != 0 {
				t.Fatalf("%s: the journal has %+v before anything was said", name, journal.events)
			}
			a := &archive{answer: func(context.Context) (string, error) { return "sign-in logged", nil }}
			var replicas []*corroboration
			for range 2 { // that share the ledger
				replicas = append(replicas, newCorroboration([]hold.Named{{Name: "m365", Verifier: a}}, journal, m, slog.New(slog.DiscardHandler)))
			}
			time.Sleep(corroborateAfter) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
			for _, c := range replicas {
				c.close()
			}
			asked, events := a.looks(journal)
			if len(asked) != 1 || asked[0] != "alice@contoso.com tx-h1 10:00:00" || len(events) != 1 || events[0].Subject.Ticket != "T-1042" {
				t.Errorf("%s: looked up %v, journal %+v; want one of each", name, asked, events)
			}
			again := newCorroboration([]hold.Named{{Name: "m365", Verifier: a}}, journal, m, slog.New(slog.DiscardHandler))
			time.Sleep(time.Hour) //nolint:forbidigo // the bubble's clock
			again.close()
			if asked, _ := a.looks(journal); len(asked) != 1 {
				t.Errorf("%s: looked up %v after another restart", name, asked)
			}
		})
	}
}

func TestALookThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &notes{}
		a := &archive{answer: func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }}
		c := newCorroboration([]hold.Named{{Name: "m365", Verifier: a}}, journal, ledger.NewMemory(), slog.New(slog.DiscardHandler))
		defer c.close()
		c.observe(approval("h1", "m365"))
		c.observe(approval("h2", "m365"))
		time.Sleep(corroborateAfter + 2*corroborateTime) //nolint:forbidigo // the bubble's clock
		synctest.Wait()
		if asked, events := a.looks(journal); len(events) != 2 || len(asked) != 2 || a.at[1].Sub(a.at[0]) != corroborateTime {
			t.Errorf("journal = %+v, looks %v", events, asked)
		}
	})
}

func TestWithoutAProviderThatCanLookThereIsNothingToDo(t *testing.T) {
	c := newCorroboration([]hold.Named{{Name: "plain", Verifier: struct{ providers.Verifier }{}}}, &notes{}, ledger.NewMemory(), slog.New(slog.DiscardHandler))
	c.observe(approval("h1", "plain"))
	c.close()
	if c != nil {
		t.Error("something runs")
	}
}
