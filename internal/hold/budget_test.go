package hold_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/providers"
)

// turn asks for one push and ends it.
func (o *office) turn(n byte, v providers.Verdict) hold.Record {
	o.t.Helper()
	want := o.phone.count() + 1
	a := o.attach(request(n))
	for range 30 { // the interval
		if o.phone.count() == want {
			break
		}
		after(o.t, time.Second)
	}
	o.pushes(want)
	o.phone.answer(v)
	return o.outcome(a)
}

// blocked wants the next push refused for that reason, until then, and nothing left behind.
func (o *office) blocked(n byte, reason string, until time.Time) {
	o.t.Helper()
	live, pushes := o.Len(), o.phone.count()
	a, err := o.Attach(o.t.Context(), request(n))
	if a != nil {
		a.Leave(false)
	}
	b, ok := errors.AsType[*hold.BudgetError](err)
	if !ok || b.Reason != reason || !b.Until.Equal(until) {
		o.t.Errorf("Attach = %v, want %s until %v", err, reason, until)
	}
	o.pushes(pushes)
	if o.Len() != live {
		o.t.Errorf("%d live holds, want %d", o.Len(), live)
	}
}

func TestOnePushIsPendingPerPersonAndOthersQueue(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		begun := time.Now()
		a, b, c := o.attach(request(0)), o.attach(request(1)), o.attach(request(2))
		other := request(3)
		other.Subject.Requester.ID = "kim@contoso.com"
		d := o.attach(other)
		o.pushes(2) // alice's first, and kim's
		after(t, time.Minute)
		o.phone.mu.Lock()
		first := o.phone.pushes[0]
		if first.Person.ID != "alice@contoso.com" {
			first = o.phone.pushes[1]
		}
		o.phone.waiting["tx-"+first.HoldID] <- answer{out: providers.Outcome{Verdict: providers.Approved}}
		o.phone.mu.Unlock()
		after(t, 9*time.Second)
		o.pushes(2)
		after(t, time.Second)
		o.pushes(3)
		// Whoever did not get its turn ends with its own time, queueing included.
		after(t, 4*time.Minute-10*time.Second)
		states := map[hold.State]int{}
		for _, x := range []*hold.Attachment{a, b, c} {
			states[o.outcome(x).State]++
		}
		if states[hold.Expired]+states[hold.Approved] != 1 || states[hold.TimedOut] != 2 || time.Since(begun) > 5*time.Minute {
			t.Errorf("after %v: %v; want one approved and two timed out", time.Since(begun), states)
		}
		d.Leave(false)
	})
}

func TestTenQueuedHoldsAllGetTheirTurn(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Budget.PerDay = 100 }, func(t *testing.T, o *office) {
		const n = 10
		var all []*hold.Attachment
		for i := range byte(n) {
			all = append(all, o.attach(request(i)))
		}
		for i := range n {
			if i > 0 {
				after(t, 10*time.Second)
			}
			o.pushes(i + 1)
			o.phone.answer(providers.Approved)
		}
		for _, a := range all {
			if r := o.outcome(a); r.State != hold.Approved {
				t.Errorf("%v, want approved", r.State)
			}
		}
		if o.phone.most != 1 {
			t.Errorf("%d pushes at one time, want 1", o.phone.most)
		}
	})
}

func TestFivePushesNotApprovedInAQuarterOfAnHour(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		first := time.Now()
		for i := range byte(5) {
			o.turn(i, providers.TimedOut)
			after(t, 11*time.Second)
		}
		o.blocked(9, "per_15m", first.Add(15*time.Minute))
		after(t, time.Until(first.Add(15*time.Minute)))
		o.turn(9, providers.TimedOut)
	})
}

func TestApprovedPushesCountOnlyForTheDay(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		first := time.Now()
		for i := range byte(30) {
			o.turn(i, providers.Approved)
			after(t, 11*time.Second)
		}
		o.blocked(99, "per_day", first.Add(24*time.Hour))
		after(t, time.Until(first.Add(24*time.Hour)))
		o.turn(99, providers.Approved)
	})
}

func TestTheSecondDenialInAQuarterOfAnHourStartsACoolOff(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		o.turn(0, providers.Denied)
		after(t, 16*time.Minute)
		o.turn(1, providers.Denied) // the first is too long ago
		after(t, 11*time.Second)
		o.turn(2, providers.Denied)
		until := time.Now().Add(15 * time.Minute)
		o.blocked(3, "cooloff", until)
		o.blocked(2, "cooloff", until) // the same request too
		after(t, 15*time.Minute)
		o.turn(3, providers.Approved)
	})
}

func TestAFraudReportBlocksUntilCleared(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		o.turn(0, providers.Fraud)
		o.blocked(1, "fraud", time.Time{})
		after(t, 100*24*time.Hour)
		o.blocked(1, "fraud", time.Time{})
		r := request(1)
		r.Subject.Requester.ID, r.Subject.Requester.ObjectID = "ALICE@contoso.com", "other" // the same person
		if _, err := o.Attach(t.Context(), r); err == nil {
			t.Error("another spelling got round the block")
		}
		if err := o.Clear(t.Context(), "alice@contoso.com"); err != nil {
			t.Fatal(err)
		}
		o.turn(1, providers.Approved)
	})
}

func TestQueuedHoldsEndWhenTheBudgetDoes(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a, b := o.attach(request(0)), o.attach(request(1))
		o.pushes(1)
		o.phone.answer(providers.Fraud)
		synctest.Wait()
		var fraud, blocked int
		for _, x := range []*hold.Attachment{a, b} {
			r, err := x.Wait(t.Context())
			if e, ok := errors.AsType[*hold.BudgetError](err); ok && e.Reason == "fraud" {
				blocked++
			} else if err == nil && r.State == hold.Fraud {
				fraud++
			}
			x.Leave(true)
		}
		if fraud != 1 || blocked != 1 {
			t.Errorf("%d told of the fraud report, %d blocked; want 1 and 1", fraud, blocked)
		}
		o.pushes(1)
		o.blocked(1, "fraud", time.Time{})
	})
}

func TestWhereNobodyWasAskedNothingIsCounted(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Budget.PerDay = 2 }, func(t *testing.T, o *office) {
		o.phone.start = func(context.Context, providers.Challenge) (providers.Attempt, error) {
			return providers.Attempt{Outcome: providers.Outcome{Verdict: providers.NotEnrolled}}, nil
		}
		for range 10 {
			if r := o.outcome(o.attach(request(0))); r.State != hold.NotEnrolled {
				t.Errorf("%v, want not_enrolled", r.State)
			}
		}
	})
}

func TestAnAbandonedPushCounts(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Budget.PerDay = 1 }, func(t *testing.T, o *office) {
		first := time.Now()
		o.attach(request(0)).Leave(false)
		after(t, 3*time.Minute)
		o.blocked(1, "per_day", first.Add(24*time.Hour))
	})
}

// silent is a phone whose pushes cannot be taken back, as Duo's cannot.
type silent struct{ providers.Verifier }

func TestNoSecondPushIsSentWhileThePhoneMayStillShowTheFirst(t *testing.T) {
	change := func(op *hold.Options) { op.Verifiers[0].Verifier = silent{op.Verifiers[0].Verifier} }
	inOffice(t, change, func(t *testing.T, o *office) {
		o.attach(request(0)).Leave(false)
		o.pushes(1)
		after(t, 2*time.Minute+time.Second) // nobody came back for it
		o.attach(request(1))
		after(t, 55*time.Second)
		o.pushes(1)
		after(t, 10*time.Second)
		o.pushes(2)
	})
}
