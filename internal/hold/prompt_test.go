package hold_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/providers"
)

const secretCode = "482913"

// pages is a phone that passes on what its Start says.
type pages struct {
	*phone
	url, code string
}

func (p pages) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	a, err := p.phone.Start(ctx, c)
	a.URL, a.Code = p.url, p.code
	return a, err
}

func TestAPageIsKeptAndACodeIsOnlyPassedOn(t *testing.T) {
	type prompt struct{ hold, url, code string }
	var told []prompt
	const page = "https://sidecar.contoso.com/pages/abc?x=1"
	inOffice(t, func(op *hold.Options) {
		op.Verifiers[0].Verifier = pages{op.Verifiers[0].Verifier.(*phone), page, secretCode}
		op.Prompted = func(r hold.Record, url, code string) { told = append(told, prompt{string(r.ID), url, code}) }
	}, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.pushes(1)
		if want := []prompt{{string(a.ID()), page, secretCode}}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		r, err := within(t, a, time.Second)
		if err == nil || r.PromptURL != page {
			t.Errorf("pending with page %q, %v; want %q", r.PromptURL, err, page)
		}
		o.phone.answer(providers.Approved)
		o.outcome(a)
		synctest.Wait()
		if len(told) != 1 {
			t.Errorf("told %d times, want once", len(told))
		}
		for e, err := range o.ledger.Watch(t.Context(), "") {
			if err != nil || e.Key == "" {
				break
			}
			if strings.Contains(string(e.Value), secretCode) {
				t.Errorf("the code is in the ledger's %s", e.Key)
			}
		}
		o.journal.mu.Lock()
		defer o.journal.mu.Unlock()
		if text, err := json.Marshal(o.journal.events); err != nil || strings.Contains(string(text), secretCode) {
			t.Errorf("the code is in the journal (%v)", err)
		}
	})
}

func TestAPageThatCannotBeShownIsNotPassedOn(t *testing.T) {
	for page, want := range map[string]bool{
		"https://a.example/x": true, "http://127.0.0.1:8/x": true, "http://localhost/x": true, "http://a.example/x": false, "javascript:alert(1)": false,
		"https://user:pass@a.example/": false, "https:///x": false, "//a.example": false, "https://a.example/\u202e": false, "https://a.example/a b": true,
		"https://a.example/" + strings.Repeat("x", 3000): false,
	} {
		inOffice(t, func(op *hold.Options) {
			op.Verifiers[0].Verifier = pages{op.Verifiers[0].Verifier.(*phone), page, ""}
		}, func(t *testing.T, o *office) {
			a := o.attach(request(0))
			o.pushes(1)
			if r, _ := within(t, a, time.Second); (r.PromptURL == page) != want || !want && r.PromptURL != "" {
				t.Errorf("page %.40q is kept as %.40q", page, r.PromptURL)
			}
			a.Leave(false)
		})
	}
}

func TestAPanicOfWhoIsPromptedHarmsNothing(t *testing.T) {
	inOffice(t, func(op *hold.Options) {
		op.Verifiers[0].Verifier = pages{op.Verifiers[0].Verifier.(*phone), "", secretCode}
		op.Prompted = func(hold.Record, string, string) { panic(secretCode) }
	}, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.phone.answer(providers.Approved)
		if r := o.outcome(a); r.State != hold.Approved {
			t.Errorf("%v, want approved", r.State)
		}
	})
}

func TestObserversLearnWhoIsAboutToBeAskedBeforeThePush(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
	}
	inOffice(t, func(op *hold.Options) {
		first := &phone{start: func(context.Context, providers.Challenge) (providers.Attempt, error) {
			note("start first")
			return providers.Attempt{Outcome: providers.Outcome{Verdict: providers.NotEnrolled}}, nil
		}}
		second := op.Verifiers[0].Verifier.(*phone)
		second.limit = time.Minute
		second.start = func(context.Context, providers.Challenge) (providers.Attempt, error) {
			note("start second")
			return providers.Attempt{Asked: true, Transaction: "t"}, nil
		}
		op.Verifiers = []hold.Named{{Name: "first", Verifier: first}, {Name: "second", Verifier: second}}
		op.Observe = func(e hold.Event, r hold.Record) {
			s := e.Kind.String()
			if e.Kind == hold.EventAsking {
				s += " " + r.Subject.Requester.ID + " at " + r.Provider + " for " + r.Summary + " within " + time.Until(r.ExpiresAt).String()
			}
			note(s)
		}
	}, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.pushes(1)
		const who = " alice@contoso.com at "
		want := []string{
			"opened", "asking" + who + "first for Reset the password of bob@contoso.com within 5m0s", "start first",
			"asking" + who + "second for Reset the password of bob@contoso.com within 1m0s", "start second", "asked",
		}
		mu.Lock()
		got := slices.Clone(seen)
		mu.Unlock()
		if !slices.Equal(got, want) {
			t.Errorf("seen %q, want %q", got, want)
		}
		a.Leave(false)
	})
}

func TestATechnicianIsToldOncePerHold(t *testing.T) {
	for v, want := range map[providers.Verdict]int{
		providers.NotEnrolled: 1, providers.LockedOut: 1, providers.Fraud: 1, providers.Unavailable: 1, 99: 1,
		providers.Denied: 0, providers.TimedOut: 0, providers.Approved: 0,
	} {
		for _, replicas := range []int{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				m, p := ledger.NewMemory(), &phone{}
				var told []hold.Record
				var offices []*office
				for range replicas {
					offices = append(offices, newOffice(t, m, p, func(op *hold.Options) {
						op.Shared = true
						op.Escalated = func(_ context.Context, r hold.Record) bool { told = append(told, r); return true }
					}))
				}
				a := offices[0].attach(request(0))
				p.answer(v)
				offices[0].outcome(a)
				after(t, time.Hour)
				if len(told) != want {
					t.Errorf("%v on %d replicas: told %d times, want %d", v, replicas, len(told), want)
				}
				for _, r := range told {
					if r.Subject.Agent != "helpdesk-1" || r.Subject.Ticket != "T-1" || r.Subject.Requester.ID == "" {
						t.Errorf("%v: told %+v without agent, ticket or person", v, r.Subject)
					}
				}
			})
		}
	}
}

// caller is a provider that calls back: its Wait looks only when it is woken.
type caller struct {
	*phone
	mu    sync.Mutex
	woken []string
}

func (*caller) Callback(*http.Request, []byte) (string, error) { return "", providers.ErrCallback }

// Handle is what is left when the desk's own hold is taken out: the service knows less than Start said.
func (*caller) Handle(tx string) string { return strings.TrimPrefix(tx, "tx-") }

func (c *caller) Wake(tx string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = append(c.woken, tx)
}

func (c *caller) wakes() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.woken)
}

func TestACallbackWakesTheWaitOnWhicheverReplicaItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := ledger.NewMemory(), &phone{}
		var offices [2]*office
		var callers [2]*caller
		for i := range offices {
			callers[i] = &caller{phone: p}
			offices[i] = newOffice(t, m, p, func(op *hold.Options) { op.Shared, op.Verifiers[0].Verifier = true, callers[i] })
		}
		a := offices[0].attach(request(0))
		p.count()
		tx := "tx-" + string(a.ID())
		wake := func(i int, provider, tx string, want0, want1 int) {
			t.Helper()
			if err := offices[i].Wake(t.Context(), provider, tx); err != nil {
				t.Errorf("Wake = %v", err)
			}
			if got0, got1 := callers[0].wakes(), callers[1].wakes(); got0 != want0 || got1 != want1 {
				t.Errorf("woken %d and %d times, want %d and %d", got0, got1, want0, want1)
			}
		}
		wake(0, "duo", tx, 1, 0)
		wake(1, "duo", tx, 2, 0)
		before := m.Len()
		for range 100 {
			wake(1, "duo", tx, 2, 0) // too soon after the last one
			wake(1, "duo", "unheard-of", 2, 0)
			wake(1, "other", tx, 2, 0)
			wake(1, "duo", "", 2, 0)
		}
		if m.Len() != before {
			t.Errorf("%d documents in the ledger, want the %d from before", m.Len(), before)
		}
		after(t, time.Second)
		wake(1, "duo", strings.TrimPrefix(tx, "tx-"), 3, 0) // by the service's own name for it
		if r, err := within(t, a, time.Second); err == nil {
			t.Errorf("a callback alone made it %v", r.State)
		}
		p.answer(providers.Approved)
		offices[0].outcome(a)
		after(t, 2*time.Second)
		wake(0, "duo", tx, 3, 0) // nobody waits any more
		wake(1, "duo", tx, 3, 0)
	})
}

func TestAWakeDocumentThatCannotBeStoredHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory()}
		p := &phone{}
		o := newOffice(t, b.Ledger.(*ledger.Memory), p, func(op *hold.Options) { op.Ledger, op.Verifiers[0].Verifier = b, &caller{phone: p} })
		b.set(func(e hold.Entry) bool { return strings.HasPrefix(e.Key, "wake.") }, func(key string) bool { return strings.HasPrefix(key, "wake.") })
		a := o.attach(request(0))
		o.pushes(1)
		if err := o.Wake(t.Context(), "duo", "unheard-of"); err == nil {
			t.Error("a failing ledger was not told of")
		}
		p.answer(providers.Approved)
		if r := o.outcome(a); r.State != hold.Approved {
			t.Errorf("%v, want approved", r.State)
		}
	})
}
