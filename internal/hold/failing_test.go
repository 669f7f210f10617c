package hold_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

func TestAFailingJournalRefusesAtEveryStep(t *testing.T) {
	for _, step := range []struct {
		kind   string
		pushes int
	}{{"hold.opened", 0}, {"hold.asked", 1}, {"hold.settled", 1}} {
		t.Run(step.kind, func(t *testing.T) {
			inOffice(t, nil, func(t *testing.T, o *office) {
				o.journal.fail = step.kind
				a, err := o.Attach(t.Context(), request(0))
				if step.kind == "hold.opened" {
					if !errors.Is(err, hold.ErrJournal) || a != nil {
						t.Errorf("Attach = %v, want ErrJournal", err)
					}
					o.pushes(0)
					if list, err := o.List(t.Context()); err != nil || len(list) != 0 || o.Len() != 0 {
						t.Errorf("left behind: %v, %v", list, err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if step.kind == "hold.settled" {
					o.phone.answer(providers.Approved)
				}
				r, err := a.Wait(t.Context())
				if !errors.Is(err, hold.ErrJournal) {
					t.Errorf("Wait = %v, %v; want ErrJournal", r.State, err)
				}
				o.pushes(step.pushes)
				o.state(a, hold.Unavailable)
				if _, err := o.Redeem(t.Context(), a.ID(), digest0(), "ex"); !errors.Is(err, hold.ErrSpent) {
					t.Errorf("Redeem = %v, want ErrSpent", err)
				}
				if step.kind == "hold.asked" && len(o.phone.canceled) != 1 {
					t.Error("the push was not taken back")
				}
				if o.Len() != 0 {
					t.Errorf("%d live holds, want 0", o.Len())
				}
				a.Leave(true)
			})
		})
	}
}

func digest0() policy.Digest { return request(0).Digest }

// A ledger that fails from some step on, by prefix of the documents it fails for.
func TestAFailingLedgerRefusesAtEveryStep(t *testing.T) {
	for _, prefix := range []string{"", "hold.", "person.", "desk.", "id."} {
		for _, after := range []bool{false, true} {
			for _, when := range []string{"before attaching", "before the answer", "before redeeming"} {
				name := prefix + " " + when
				if after {
					name += ", though it had happened"
				}
				t.Run(name, func(t *testing.T) { failingLedger(t, prefix, when, after) })
			}
		}
	}
}

func failingLedger(t *testing.T, prefix, when string, happened bool) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory(), after: happened}
		o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) { op.Ledger = b })
		fails := func(at string) {
			if at == when {
				b.set(func(e hold.Entry) bool { return strings.HasPrefix(e.Key, prefix) }, nil)
			}
		}
		fails("before attaching")
		a, err := o.Attach(t.Context(), request(0))
		if err != nil {
			if !errors.Is(err, hold.ErrLedger) {
				t.Errorf("Attach = %v, want ErrLedger", err)
			}
			o.pushes(0)
			return
		}
		defer a.Leave(false)
		if o.phone.count() == 0 {
			if _, err := a.Wait(t.Context()); err == nil && a.Record().State == hold.Approved {
				t.Error("approved without a push")
			}
			return
		}
		fails("before the answer")
		o.phone.answer(providers.Approved)
		r, err := a.Wait(t.Context())
		if err == nil && r.State != hold.Approved {
			t.Errorf("Wait = %v, want an approval or an error", r.State)
		}
		if err != nil && !errors.Is(err, hold.ErrLedger) {
			t.Errorf("Wait = %v, want ErrLedger", err)
		}
		fails("before redeeming")
		released := 0
		for range 3 {
			if _, err := o.Redeem(t.Context(), a.ID(), digest0(), "ex"); err == nil {
				released++
			} else if !errors.Is(err, hold.ErrLedger) && !errors.Is(err, hold.ErrSpent) {
				t.Errorf("Redeem = %v, want ErrLedger or ErrSpent", err)
			}
		}
		if holdFails := prefix == "" || prefix == "hold."; released > 1 || holdFails && released != 0 {
			t.Errorf("released %d times", released)
		}
	})
}

func TestAHoldRidesOverAGapInTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory()}
		o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) { op.Ledger = b })
		a := o.attach(request(0))
		o.pushes(1)
		all := func(string) bool { return true }
		b.set(func(hold.Entry) bool { return true }, all)
		o.refused(request(1), hold.ErrLedger)
		if _, err := o.Redeem(t.Context(), a.ID(), digest0(), "ex"); !errors.Is(err, hold.ErrLedger) {
			t.Errorf("Redeem = %v, want ErrLedger", err)
		}
		o.phone.answer(providers.Approved)
		after(t, 7*time.Second)
		b.set(nil, nil)
		if r := o.outcome(a); r.State != hold.Approved {
			t.Errorf("%v, want approved", r.State)
		}
	})
}

func TestAnErringProviderIsUnavailableAndNobodyElseIsAsked(t *testing.T) {
	asked := providers.Attempt{Asked: true, Transaction: "tx"}
	for name, start := range map[string]func(context.Context, providers.Challenge) (providers.Attempt, error){
		"an error": func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{}, errLost
		},
		"an error and a transaction": func(context.Context, providers.Challenge) (providers.Attempt, error) { return asked, errLost },
		"a panic":                    func(context.Context, providers.Challenge) (providers.Attempt, error) { panic("secret") },
		"no transaction": func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{Asked: true}, nil
		},
		"an approval nobody gave": func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{Outcome: providers.Outcome{Verdict: providers.Approved}}, nil
		},
		"a fraud nobody reported": func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{Outcome: providers.Outcome{Verdict: providers.Fraud}}, nil
		},
		"an unknown verdict": func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{Outcome: providers.Outcome{Verdict: 77}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			second := &phone{}
			inOffice(t, func(op *hold.Options) {
				op.Verifiers = append(op.Verifiers, hold.Named{Name: "m365", Verifier: second})
			}, func(t *testing.T, o *office) {
				o.phone.start = start
				if r := o.outcome(o.attach(request(0))); r.State != hold.Unavailable || r.Evidence != nil {
					t.Errorf("%v, want unavailable", r.State)
				}
				if second.count() != 0 {
					t.Error("the second provider was asked although the first may have")
				}
			})
		})
	}
}

func TestAProviderThatFailsWhileWaitingIsUnavailable(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.phone.give(answer{out: providers.Outcome{Verdict: providers.Approved}, err: errLost})
		if r := o.outcome(a); r.State != hold.Unavailable {
			t.Errorf("an approval with an error: %v, want unavailable", r.State)
		}
		o.phone.panics = true
		b := o.attach(request(1))
		if r := o.outcome(b); r.State != hold.Unavailable {
			t.Errorf("a panic: %v, want unavailable", r.State)
		}
	})
}

func TestTheNextProviderIsAskedOnlyWhereNobodyWas(t *testing.T) {
	final := func(v providers.Verdict) func(context.Context, providers.Challenge) (providers.Attempt, error) {
		return func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{Outcome: providers.Outcome{Verdict: v}}, nil
		}
	}
	for _, c := range []struct {
		first, second providers.Verdict
		want          hold.State
		asked         int
	}{
		{providers.NotEnrolled, providers.Approved, hold.Approved, 1},
		{providers.Unavailable, providers.Approved, hold.Approved, 1},
		{providers.NotEnrolled, providers.NotEnrolled, hold.NotEnrolled, 0},
		{providers.NotEnrolled, providers.Unavailable, hold.Unavailable, 0}, // the one that is down might have known them
		{providers.Unavailable, providers.NotEnrolled, hold.Unavailable, 0},
		{providers.Unavailable, providers.Unavailable, hold.Unavailable, 0},
		{providers.LockedOut, providers.Approved, hold.LockedOut, 0},
	} {
		second := &phone{}
		if c.second != providers.Approved {
			second.start = final(c.second)
		}
		inOffice(t, func(op *hold.Options) {
			op.Verifiers = append(op.Verifiers, hold.Named{Name: "m365", Verifier: second})
		}, func(t *testing.T, o *office) {
			o.phone.start = final(c.first)
			a := o.attach(request(0))
			if got := second.count(); got != c.asked {
				t.Errorf("%v: second provider asked %d times, want %d", c.first, got, c.asked)
			}
			if c.asked > 0 {
				second.answer(c.second)
			}
			r := o.outcome(a)
			if r.State != c.want || c.asked > 0 && r.Evidence.Provider != "m365" {
				t.Errorf("%v, then %v: %v by %s, want %v", c.first, c.second, r.State, r.Provider, c.want)
			}
		})
	}
}

func TestARequirementChoosesTheProvider(t *testing.T) {
	second := &phone{can: []string{"text", "number_match"}}
	inOffice(t, func(op *hold.Options) {
		op.Verifiers = append(op.Verifiers, hold.Named{Name: "m365", Verifier: second})
	}, func(t *testing.T, o *office) {
		for name, c := range map[string]struct {
			need policy.Requirement
			want int // of the second; -1: nobody
		}{
			"any":               {policy.Requirement{}, 0},
			"by name":           {policy.Requirement{Providers: []string{"m365", "x"}}, 1},
			"by capability":     {policy.Requirement{Capabilities: []string{"text"}}, 1},
			"unknown name":      {policy.Requirement{Providers: []string{"okta"}}, -1},
			"more than any can": {policy.Requirement{Capabilities: []string{"text", "phishing_resistant"}}, -1},
			"both at once":      {policy.Requirement{Providers: []string{"duo"}, Capabilities: []string{"text"}}, -1},
		} {
			r := request(byte(len(name)))
			c.need.Approver, r.Decision.Requirement = "requester", &c.need
			r.Subject.Requester.ID = name // everybody has a budget of their own
			before := second.count()
			if c.want < 0 {
				o.refused(r, hold.ErrNoProvider)
				continue
			}
			a := o.attach(r)
			if got := second.count() - before; got != c.want {
				t.Errorf("%s: second provider asked %d times, want %d", name, got, c.want)
			}
			a.Leave(false)
		}
	})
}

func TestDrainWithdrawsAndReleasesNothing(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a, queued := o.attach(request(0)), o.attach(request(1))
		r := request(2)
		r.Subject.Requester.ID = "kim@contoso.com"
		approved := o.attach(r)
		o.phone.answerFor("kim@contoso.com", providers.Approved)
		if _, err := approved.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		woken := make(chan error, 1)
		go func() { _, err := a.Wait(t.Context()); woken <- err }()
		synctest.Wait()
		begun := time.Now()
		if err := o.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("draining took %v", took)
		}
		if err := <-woken; !errors.Is(err, hold.ErrDraining) {
			t.Errorf("waiting caller got %v, want ErrDraining", err)
		}
		o.refused(request(5), hold.ErrDraining)
		if _, err := o.Redeem(t.Context(), approved.ID(), r.Digest, "ex"); !errors.Is(err, hold.ErrDraining) {
			t.Errorf("Redeem = %v, want ErrDraining", err)
		}
		o.state(a, hold.Withdrawn)
		o.state(queued, hold.Withdrawn)
		if len(o.phone.canceled) != 1 {
			t.Errorf("%d pushes taken back, want 1", len(o.phone.canceled))
		}
		var withdrawn int
		for _, k := range o.journal.kinds() {
			if k == "hold.settled withdrawn" {
				withdrawn++
			}
		}
		if withdrawn != 2 {
			t.Errorf("%d withdrawals recorded, want 2", withdrawn)
		}
		for _, x := range []*hold.Attachment{a, queued, approved} {
			x.Leave(false)
		}
	})
}

func (p *phone) answerFor(person string, v providers.Verdict) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.pushes, func(c providers.Challenge) bool { return c.Person.ID == person })
	p.waiting["tx-"+p.pushes[i].HoldID] <- answer{out: providers.Outcome{Verdict: v}}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	good := hold.Options{Ledger: ledger.NewMemory(), Recorder: &journal{}}
	for name, change := range map[string]func(*hold.Options){
		"no ledger": func(o *hold.Options) { o.Ledger = nil }, "no journal": func(o *hold.Options) { o.Recorder = nil },
		"negative time": func(o *hold.Options) { o.Timeout = -1 }, "negative budget": func(o *hold.Options) { o.Budget.PerDay = -1 },
		"a name twice": func(o *hold.Options) {
			o.Verifiers = []hold.Named{{Name: "a", Verifier: &phone{}}, {Name: "a", Verifier: &phone{}}}
		},
		"no verifier": func(o *hold.Options) { o.Verifiers = []hold.Named{{Name: "a"}} },
	} {
		o := good
		change(&o)
		if _, err := hold.NewDesk(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestWithoutAProviderEveryHoldIsRefused(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Verifiers = nil }, func(t *testing.T, o *office) {
		o.refused(request(0), hold.ErrNoProvider)
		o.recorded()
	})
}

func TestAnOperatorWhoHangsUpDoesNotBreakTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory()}
		o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) { op.Ledger = b })
		a := o.attach(request(0))
		ctx, cancel := context.WithCancel(t.Context())
		b.set(func(hold.Entry) bool { cancel(); return false }, nil) // in the middle of it
		if err := o.Withdraw(ctx, a.ID(), "carol"); err != nil {
			t.Errorf("Withdraw = %v", err)
		}
		if r := o.outcome(a); r.State != hold.Withdrawn {
			t.Errorf("%v, want withdrawn", r.State)
		}
	})
}

func TestACallerIsNotHeldUpByAContextThatHasEnded(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := o.Attach(ctx, request(0)); !errors.Is(err, context.Canceled) || !errors.Is(err, hold.ErrLedger) {
			t.Errorf("Attach = %v, want context.Canceled", err)
		}
		o.pushes(0)
	})
}
