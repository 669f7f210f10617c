package hold_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/providers"
)

// A Store that seems to fail may have happened. What the hold then finds on record is its own transaction.
func TestAPushWhoseRecordSeemedToFailIsStillWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory(), after: true}
		o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) { op.Ledger = b })
		lost := false
		b.set(func(e hold.Entry) bool {
			if lost || !strings.HasPrefix(e.Key, "hold.") || !bytes.Contains(e.Value, []byte(`"transaction":"tx-`)) {
				return false
			}
			lost = true
			return true
		}, nil)
		a := o.attach(request(0))
		after(t, time.Second)
		if !lost {
			t.Fatal("no Store of a transaction was lost")
		}
		o.pushes(1)
		o.phone.answer(providers.Approved)
		if r, err := within(t, a, time.Second); err != nil || r.State != hold.Approved {
			t.Errorf("Wait = %v, %v; want approved", r.State, err)
		}
		if len(o.phone.canceled) != 0 {
			t.Error("the push was taken back")
		}
		a.Leave(true)
	})
}

// The clock ends a hold as soon as the ledger lets it. Its turn may come in between.
func TestNobodyIsAskedAboutAHoldWhoseTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory()}
		o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) { op.Ledger = b })
		first := o.attach(request(0))
		after(t, time.Second)
		second := o.attach(request(1))
		after(t, 4*time.Minute+59*time.Second+500*time.Millisecond) // the first has timed out: the second may push in 9.5 s
		o.pushes(1)
		b.set(nil, func(key string) bool { return strings.HasPrefix(key, "hold.") })
		after(t, 12*time.Second)
		b.set(nil, nil)
		if r := o.outcome(second); r.State != hold.TimedOut {
			t.Errorf("%v, want timed_out", r.State)
		}
		o.pushes(1)
		first.Leave(true)
	})
}

// A replica dies with a push on the phone that was sent shortly before its hold's end.
func TestAPushOfAReplicaThatDiedCountsForAsLongAsThePhoneMayShowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, p := ledger.NewMemory(), &phone{}
		cut := &broken{Ledger: m}
		dead := newOffice(t, m, p, func(op *hold.Options) {
			op.Ledger, op.Shared, op.Verifiers[0].Verifier = cut, true, silent{p}
		})
		b := newOffice(t, m, p, func(op *hold.Options) { op.Shared, op.Verifiers[0].Verifier = true, silent{p} })
		first := dead.attach(request(0))
		dead.pushes(1)
		queued := dead.attach(request(1))
		after(t, 4*time.Minute+45*time.Second)
		p.answer(providers.Approved)
		after(t, 11*time.Second)
		dead.pushes(2)
		cut.set(func(hold.Entry) bool { return true }, func(string) bool { return true })
		next := b.attach(request(2))
		after(t, 55*time.Second)
		b.pushes(2)
		after(t, time.Minute)
		b.pushes(3)
		for _, a := range []*hold.Attachment{first, queued, next} {
			a.Leave(false)
		}
	})
}
