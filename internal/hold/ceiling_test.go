package hold_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

// by is a request of somebody, through some agent.
func by(n int, person, agent string) hold.Request {
	r := request(0)
	r.Digest = policy.Digest{2, byte(n), byte(n >> 8)}
	r.Subject.Requester.ID, r.Subject.Agent = person, agent
	return r
}

// Every row asks for some holds at once, and the people answer each push as it comes.
func TestPushesSentAreAsTheBudgetSays(t *testing.T) {
	person := func(n int) string { return fmt.Sprintf("p%d@contoso.com", n) }
	for name, c := range map[string]struct {
		budget  hold.Budget
		holds   int
		of      func(n int) hold.Request
		answer  providers.Verdict
		within  time.Duration
		pushes  int
		refused map[string]int // attaching or waiting, by reason
	}{
		"two people approve at once": {holds: 2, of: func(n int) hold.Request { return by(n, person(n), "a") }, answer: providers.Approved, within: time.Second, pushes: 2},
		"one person with three holds, at first": {
			holds: 3, of: func(n int) hold.Request { return by(n, "alice@contoso.com", "a") }, answer: providers.Approved, within: time.Second, pushes: 1,
		},
		"one person with three holds, in the end": {
			holds: 3, of: func(n int) hold.Request { return by(n, "alice@contoso.com", "a") }, answer: providers.Approved, within: time.Minute, pushes: 3,
		},
		"two denials": {
			holds: 5, of: func(n int) hold.Request { return by(n, "alice@contoso.com", "a") }, answer: providers.Denied, within: 4 * time.Minute, pushes: 2,
			refused: map[string]int{"cooloff": 3},
		},
		"a fraud report": {
			holds: 5, of: func(n int) hold.Request { return by(n, "alice@contoso.com", "a") }, answer: providers.Fraud, within: 4 * time.Minute, pushes: 1,
			refused: map[string]int{"fraud": 4},
		},
		"a burst for one person": {
			holds: 50, of: func(n int) hold.Request { return by(n, "alice@contoso.com", "a") }, answer: providers.TimedOut, within: 4 * time.Minute, pushes: 5,
			refused: map[string]int{"per_15m": 45},
		},
		"a burst of one agent for everybody": {
			budget: hold.Budget{PerAgent15m: 20}, holds: 50, of: func(n int) hold.Request { return by(n, person(n), "a") }, answer: providers.Approved, within: time.Minute,
			pushes: 20, refused: map[string]int{"per_agent": 30},
		},
		"the same of many agents": {
			budget: hold.Budget{PerAgent15m: 20, PerTenant15m: 30}, holds: 50, of: func(n int) hold.Request { return by(n, person(n), fmt.Sprint(n)) },
			answer: providers.Approved, within: time.Minute, pushes: 30, refused: map[string]int{"per_tenant": 20},
		},
		"in many tenants": {
			budget: hold.Budget{PerTenant15m: 10}, holds: 50, of: func(n int) hold.Request { return by(n, fmt.Sprintf("p@c%d.com", n%5), "a"+fmt.Sprint(n)) },
			answer: providers.Approved, within: 5 * time.Minute, pushes: 50,
		},
		"without a ceiling": {
			holds: 70, of: func(n int) hold.Request { return by(n, person(n), "a") }, answer: providers.Approved, within: time.Minute, pushes: 70,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inOffice(t, func(op *hold.Options) { op.Budget = c.budget }, func(t *testing.T, o *office) {
				refused := map[string]int{}
				count := func(err error) {
					b, ok := errors.AsType[*hold.BudgetError](err)
					if !ok {
						t.Errorf("refused with %v", err)
						return
					}
					refused[b.Reason]++
					if b.Until.IsZero() != (b.Reason == "fraud") || !b.Until.IsZero() && !b.Until.After(time.Now()) {
						t.Errorf("%s until %v", b.Reason, b.Until)
					}
				}
				var all []*hold.Attachment
				for n := range c.holds {
					a, err := o.Attach(t.Context(), c.of(n))
					if err != nil {
						count(err)
						continue
					}
					all = append(all, a)
				}
				answered := 0
				for begun := time.Now(); time.Since(begun) < c.within; after(t, time.Second) {
					answered = o.answerNew(answered, c.answer)
				}
				for _, a := range all {
					if _, err := within(t, a, time.Millisecond); err != nil && t.Context().Err() == nil && !isPending(err) {
						count(err)
					}
					a.Leave(true)
				}
				o.pushes(c.pushes)
				if fmt.Sprint(refused) != fmt.Sprint(nonNil(c.refused)) {
					t.Errorf("refused %v, want %v", refused, c.refused)
				}
			})
		})
	}
}

func nonNil(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

func isPending(err error) bool { return !errors.As(err, new(*hold.BudgetError)) }

// answerNew answers every push after the first n, and returns how many there are now.
func (o *office) answerNew(n int, v providers.Verdict) int {
	o.phone.count()
	o.phone.mu.Lock()
	defer o.phone.mu.Unlock()
	for _, c := range o.phone.pushes[n:] {
		o.phone.waiting["tx-"+c.HoldID] <- answer{out: providers.Outcome{Verdict: v}}
	}
	return len(o.phone.pushes)
}

func TestACeilingMovesOnAndCountsOnlyWhatWasSent(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Budget.PerAgent15m = 2 }, func(t *testing.T, o *office) {
		o.phone.start = says(providers.NotEnrolled)
		for n := range 5 {
			o.outcome(o.attach(by(n, fmt.Sprintf("x%d@contoso.com", n), "a")))
		}
		o.phone.start = nil
		first := time.Now()
		for n := range 2 {
			a := o.attach(by(n, fmt.Sprintf("p%d@contoso.com", n), "a"))
			o.phone.answer(providers.Approved)
			o.outcome(a)
		}
		_, err := o.Attach(t.Context(), by(9, "q@contoso.com", "a"))
		if b, ok := errors.AsType[*hold.BudgetError](err); !ok || b.Reason != "per_agent" || !b.Until.Equal(first.Add(15*time.Minute)) {
			t.Errorf("Attach = %v, want per_agent until a quarter of an hour after the first", err)
		}
		o.attach(by(10, "q@contoso.com", "b")).Leave(false)
		after(t, 15*time.Minute)
		o.attach(by(11, "r@contoso.com", "a")).Leave(false)
	})
}

func TestTwoNamesOfOnePersonHaveOneBudget(t *testing.T) {
	named := func(n byte, id, object string) hold.Request {
		r := request(n)
		r.Subject.Requester.ID, r.Subject.Requester.ObjectID = id, object
		return r
	}
	inOffice(t, nil, func(t *testing.T, o *office) {
		upn, mail := named(0, "alice@contoso.com", "OBJ-1"), named(1, "Alice.Smith@contoso.com", "obj-1")
		a, b := o.attach(upn), o.attach(mail)
		o.pushes(1) // one phone, one push
		o.answerNew(0, providers.Approved)
		after(t, 10*time.Second)
		o.pushes(2)
		o.answerNew(1, providers.Fraud)
		synctest.Wait()
		fraud := 0
		for _, x := range []*hold.Attachment{a, b} {
			if o.outcome(x).State == hold.Fraud {
				fraud++
			}
		}
		if fraud != 1 {
			t.Errorf("%d fraud reports, want 1", fraud)
		}
		for _, r := range []hold.Request{named(3, "alice@contoso.com", "obj-1"), named(4, "third@contoso.com", "OBJ-1")} {
			if _, err := o.Attach(t.Context(), r); err == nil {
				t.Errorf("%s may be asked after the fraud report", r.Subject.Requester.ID)
			}
		}
		list, err := o.Blocked(t.Context())
		if err != nil || len(list) != 1 || list[0].Reason != "fraud" || list[0].Agent != "helpdesk-1" || list[0].Ticket != "T-1" || list[0].Since.IsZero() {
			t.Errorf("Blocked = %+v, %v; want one person, with agent and ticket", list, err)
		}
		if err := o.Clear(t.Context(), list[0].Person); err != nil {
			t.Fatal(err)
		}
		if list, err = o.Blocked(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("Blocked = %+v, %v; want nobody", list, err)
		}
		for n, id := range []string{"alice@contoso.com", "alice.smith@contoso.com", "third@contoso.com"} {
			after(t, 11*time.Second)
			x := o.attach(named(byte(10+n), id, "obj-1"))
			o.pushes(3 + n)
			o.answerNew(2+n, providers.Approved)
			o.outcome(x)
		}
	})
}

func TestBlockedListsEveryReason(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Budget.Per15m = 1 }, func(t *testing.T, o *office) {
		for person, v := range map[string]providers.Verdict{"fraud@contoso.com": providers.Fraud, "late@contoso.com": providers.TimedOut, "fine@contoso.com": providers.Approved} {
			a := o.attach(by(1, person, "a"))
			o.phone.answer(v)
			o.outcome(a)
		}
		list, err := o.Blocked(t.Context())
		if err != nil || len(list) != 2 || list[0].Person != "fraud@contoso.com" || list[1].Reason != "per_15m" || !list[1].Until.After(time.Now()) {
			t.Errorf("Blocked = %+v, %v", list, err)
		}
		if err := o.Clear(t.Context(), "nobody@contoso.com"); err != nil {
			t.Errorf("Clear of somebody unknown = %v", err)
		}
	})
}

// A claim of which only a part could be stored is given back.
func TestHalfAClaimIsGivenBack(t *testing.T) {
	for _, prefix := range []string{"person.", "agent.", "tenant."} {
		synctest.Test(t, func(t *testing.T) {
			b := &broken{Ledger: ledger.NewMemory()}
			o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) {
				op.Ledger, op.Budget.PerAgent15m, op.Budget.PerTenant15m = b, 60, 600
			})
			b.set(func(e hold.Entry) bool { return len(e.Key) > len(prefix) && e.Key[:len(prefix)] == prefix }, nil)
			r := request(0)
			r.Subject.Requester.ObjectID = "obj-1"
			a := o.attach(r)
			after(t, time.Minute)
			b.set(nil, nil)
			after(t, time.Minute)
			a.Leave(true)
			o.pushes(0)
			r.Digest[5]++
			x := o.attach(r)
			after(t, 6*time.Minute) // what could not be given back ends with its hold
			a, err := o.Attach(t.Context(), request(7))
			if err != nil {
				t.Fatalf("%s: %v", prefix, err)
			}
			after(t, 10*time.Second)
			if o.phone.count() == 0 {
				t.Errorf("%s: no push after the ledger came back", prefix)
			}
			a.Leave(false)
			x.Leave(false)
		})
	}
}
