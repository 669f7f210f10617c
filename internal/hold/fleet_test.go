package hold_test

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

// inFleet runs a test with two desks over one ledger and one phone.
func inFleet(t *testing.T, test func(t *testing.T, a, b *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m, p := ledger.NewMemory(), &phone{}
		shared := func(op *hold.Options) { op.Shared = true }
		a, b := newOffice(t, m, p, shared), newOffice(t, m, p, shared)
		test(t, a, b)
	})
}

func TestTwoReplicasRacingSendOnePushAndReleaseOnce(t *testing.T) {
	inFleet(t, func(t *testing.T, a, b *office) {
		var wg sync.WaitGroup
		var redeemed, refused atomic.Int64
		attachments := make(chan *hold.Attachment, 20)
		for i := range 20 {
			wg.Go(func() {
				x, err := []*office{a, b}[i%2].Attach(t.Context(), request(0))
				if err == nil {
					attachments <- x
				} else if !errors.Is(err, hold.ErrDuplicate) {
					t.Errorf("Attach: %v", err)
				}
			})
		}
		wg.Wait()
		if len(attachments) != 1 {
			t.Fatalf("%d attached, want 1", len(attachments))
		}
		a.pushes(1)
		a.phone.answer(providers.Approved)
		x := <-attachments
		r, err := x.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			wg.Go(func() {
				_, err := []*office{a, b}[i%2].Redeem(t.Context(), r.ID, r.Digest, "ex")
				switch {
				case err == nil:
					redeemed.Add(1)
				case errors.Is(err, hold.ErrSpent):
					refused.Add(1)
				default:
					t.Errorf("Redeem: %v", err)
				}
			})
		}
		wg.Wait()
		if redeemed.Load() != 1 || refused.Load() != 19 {
			t.Errorf("%d redeemed, %d refused; want 1 and 19", redeemed.Load(), refused.Load())
		}
		a.refused(request(0), hold.ErrDuplicate)
		b.refused(request(0), hold.ErrDuplicate)
		x.Leave(true)
	})
}

func TestARetryAtAnotherReplicaGetsTheAnswer(t *testing.T) {
	inFleet(t, func(t *testing.T, a, b *office) {
		x := a.attach(request(0))
		b.refused(request(0), hold.ErrDuplicate)
		after(t, 55*time.Second)
		x.Leave(true)
		y := b.attach(request(0))
		if y.ID() != x.ID() {
			t.Fatalf("hold %s, want %s", y.ID(), x.ID())
		}
		a.refused(request(0), hold.ErrDuplicate)
		after(t, 3*time.Minute) // longer than resume: the owner must know that somebody is there
		a.phone.answer(providers.Approved)
		r := y.Record()
		if r, err := y.Wait(t.Context()); err != nil || r.State != hold.Approved {
			t.Fatalf("Wait = %v, %v", r.State, err)
		}
		if _, err := b.Redeem(t.Context(), r.ID, r.Digest, "ex"); err != nil {
			t.Error(err)
		}
		y.Leave(true)
		if err := a.Answered(t.Context(), r.ID); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if a.Len() != 0 || b.Len() != 0 {
			t.Errorf("%d and %d live holds, want none", a.Len(), b.Len())
		}
		a.pushes(1)
	})
}

func TestAnOutcomeIsGivenOnceOverAllReplicas(t *testing.T) {
	inFleet(t, func(t *testing.T, a, b *office) {
		a.attach(request(0)).Leave(false)
		a.phone.answer(providers.Denied)
		synctest.Wait()
		y := b.attach(request(0))
		if r := b.outcome(y); r.State != hold.Denied {
			t.Errorf("%v, want denied", r.State)
		}
		z := a.attach(request(0))
		after(t, 10*time.Second)
		a.pushes(2)
		z.Leave(false)
	})
}

func TestTheBudgetHoldsOverAllReplicas(t *testing.T) {
	inFleet(t, func(t *testing.T, a, b *office) {
		x, y := a.attach(request(0)), b.attach(request(1))
		a.pushes(1)
		a.phone.answer(providers.Denied)
		after(t, 10*time.Second)
		a.pushes(2)
		a.phone.answer(providers.Denied)
		a.outcome(x)
		b.outcome(y)
		a.blocked(2, "cooloff", time.Now().Add(15*time.Minute))
		b.blocked(2, "cooloff", time.Now().Add(15*time.Minute))
		if a.phone.most != 1 {
			t.Errorf("%d pushes at one time, want 1", a.phone.most)
		}
	})
}

func TestAnOperatorWithdrawsAtAnyReplica(t *testing.T) {
	inFleet(t, func(t *testing.T, a, b *office) {
		x := a.attach(request(0))
		a.pushes(1)
		if err := b.Withdraw(t.Context(), x.ID(), "carol"); err != nil {
			t.Fatal(err)
		}
		if r := a.outcome(x); r.State != hold.Withdrawn {
			t.Errorf("%v, want withdrawn", r.State)
		}
		synctest.Wait()
		if len(a.phone.canceled) != 1 {
			t.Error("the push was not taken back")
		}
	})
}

func TestAReplicaThatStopsLeavesItsHoldsToAnother(t *testing.T) {
	inFleet(t, func(t *testing.T, a, b *office) {
		x := a.attach(request(0))
		a.pushes(1)
		if err := a.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.Leave(false)
		y := b.attach(request(0))
		if y.ID() != x.ID() {
			t.Fatalf("hold %s, want %s", y.ID(), x.ID())
		}
		b.pushes(1)
		b.phone.answer(providers.Approved)
		if r := b.outcome(y); r.State != hold.Approved {
			t.Errorf("%v, want approved", r.State)
		}
	})
}

// A replica that dies is one whose ledger connection ends with everything in it still on record.
func TestAReplicaThatDiesIsReplacedAfterItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := ledger.NewMemory(), &phone{}
		cut := &broken{Ledger: m}
		dead := newOffice(t, m, p, func(op *hold.Options) { op.Ledger, op.Shared = cut, true })
		b := newOffice(t, m, p, func(op *hold.Options) { op.Shared = true })
		pending := dead.attach(request(0))
		r := request(1)
		r.Subject.Requester.ID = "kim@contoso.com"
		spent := dead.attach(r)
		p.answerFor("kim@contoso.com", providers.Approved)
		if _, err := spent.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := dead.Redeem(t.Context(), spent.ID(), r.Digest, "ex"); err != nil {
			t.Fatal(err)
		}
		cut.set(func(hold.Entry) bool { return true }, func(string) bool { return true })
		b.refused(request(0), hold.ErrDuplicate)
		b.refused(r, hold.ErrDuplicate)
		after(t, 31*time.Second)
		b.refused(r, hold.ErrOutcomeUnknown)
		y := b.attach(request(0))
		if y.ID() != pending.ID() {
			t.Errorf("hold %s, want %s", y.ID(), pending.ID())
		}
		b.pushes(2)
		p.mu.Lock()
		tx := p.waiting["tx-"+string(y.ID())]
		p.mu.Unlock()
		tx <- answer{out: providers.Outcome{Verdict: providers.Denied}}
		tx <- answer{out: providers.Outcome{Verdict: providers.Denied}} // the dead one hears it too
		if r := b.outcome(y); r.State != hold.Denied {
			t.Errorf("%v, want denied", r.State)
		}
		after(t, 10*time.Minute)
		z := b.attach(r)
		b.pushes(3)
		z.Leave(false)
		pending.Leave(false)
		spent.Leave(false)
	})
}

// leaky is a ledger whose watches break off again and again.
type leaky struct{ *ledger.Memory }

func (l leaky) Watch(ctx context.Context, prefix string) iter.Seq2[hold.Entry, error] {
	return func(yield func(hold.Entry, error) bool) {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		l.Memory.Watch(ctx, prefix)(yield)
	}
}

func TestABrokenWatchIsTakenUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := ledger.NewMemory(), &phone{}
		a := newOffice(t, m, p, func(op *hold.Options) { op.Shared = true })
		b := newOffice(t, m, p, func(op *hold.Options) { op.Shared, op.Ledger = true, leaky{m} })
		a.attach(request(0)).Leave(false)
		y := b.attach(request(0))
		after(t, 30*time.Second)
		p.answer(providers.Approved)
		if r, err := within(t, y, 10*time.Second); err != nil || r.State != hold.Approved {
			t.Errorf("Wait = %v, %v", r.State, err)
		}
		y.Leave(false)
	})
}

func TestThousandsOfSettledHoldsLeaveNothingBehind(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		const each = 250
		for round := range rounds {
			settleMany(t, o, round*each, each)
		}
		o.pushes(rounds * each)
		after(t, 30*time.Minute)
		if list, err := o.List(t.Context()); err != nil || len(list) != 0 || o.Len() != 0 {
			t.Errorf("%d holds in the ledger, %d live, %v; want none", len(list), o.Len(), err)
		}
		after(t, 26*time.Hour)
		if o.ledger.Len() != 0 {
			t.Errorf("%d documents in the ledger, want none", o.ledger.Len())
		}
	})
}

// settleMany opens n holds at once and ends them in various ways.
func settleMany(t *testing.T, o *office, from, n int) {
	t.Helper()
	all := make([]*hold.Attachment, 0, n)
	for i := range n {
		all = append(all, o.attach(many(from+i)))
	}
	o.pushes(from + n)
	if o.Len() < n {
		t.Errorf("%d live, want %d", o.Len(), n)
	}
	o.phone.mu.Lock()
	for i, c := range o.phone.pushes[from:] {
		v := providers.Denied
		if i%2 == 0 {
			v = providers.Approved
		}
		o.phone.waiting["tx-"+c.HoldID] <- answer{out: providers.Outcome{Verdict: v}}
	}
	o.phone.mu.Unlock()
	for i, a := range all {
		r, err := a.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 && r.State == hold.Approved {
			if _, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); err != nil {
				t.Fatal(err)
			}
		}
		a.Leave(i%3 == 0)
	}
}

func many(i int) hold.Request {
	r := request(0)
	r.Digest = policy.Digest{1, byte(i), byte(i >> 8)}
	// No agent and no domain may start so many.
	r.Subject.Agent = "helpdesk-" + strconv.Itoa(i/50)
	r.Subject.Requester.ID = string(rune('a'+i%26)) + time.Duration(i).String() + "@contoso-" + strconv.Itoa(i/500) + ".com"
	return r
}

func TestAHeldOperationCostsLittleHeap(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		o.phone.forgetful, o.journal.forgetful = true, true
		const n = 500
		all := make([]*hold.Attachment, n)
		before := heap()
		for i := range all {
			all[i] = o.attach(many(i))
		}
		synctest.Wait()
		per := (heap() - before) / n
		t.Logf("%d bytes of heap per hold", per)
		// About 5 KB, with the ledger's documents and the test's phone and journal; the bound is for what grows by itself.
		if per > 16<<10 {
			t.Errorf("%d bytes of heap per hold", per)
		}
		for _, a := range all {
			a.Leave(false)
		}
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
