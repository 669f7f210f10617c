package hold_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/providers"
)

func ofHold(e hold.Entry) bool { return strings.HasPrefix(e.Key, "hold.") }

// storing matches a hold's document that has a field.
func storing(field string) func(hold.Entry) bool {
	return func(e hold.Entry) bool { return ofHold(e) && bytes.Contains(e.Value, []byte(`"`+field+`"`)) }
}

// approved opens a hold at a desk and has it approved.
func (o *office) approved(r hold.Request) *hold.Attachment {
	o.t.Helper()
	a := o.attach(r)
	o.phone.answer(providers.Approved)
	if r, err := a.Wait(o.t.Context()); err != nil || r.State != hold.Approved {
		o.t.Fatalf("Wait = %v, %v", r.State, err)
	}
	return a
}

func TestARedemptionThatHasNotBegunRidesOverAGap(t *testing.T) {
	inGap(t, false, func(t *testing.T, b *broken, cut, _ *office) {
		a := cut.approved(request(0))
		mendAfter(b, 6*time.Second, nil, everyLoad)
		if _, err := cut.Redeem(t.Context(), a.ID(), digest0(), "ex"); err != nil {
			t.Errorf("Redeem = %v", err)
		}
		a.Leave(true)
		if err := cut.Answered(t.Context(), a.ID()); err != nil {
			t.Error(err)
		}
	})
}

// Nobody may send on a guess, so the approval counts as spent. That nothing was sent is known, and so the same call may be asked about anew.
func TestARedemptionOfWhichNobodyKnowsIsNotSentAndIsSettledLater(t *testing.T) {
	for _, happened := range []bool{false, true} {
		inGap(t, happened, func(t *testing.T, b *broken, cut, other *office) {
			a := cut.approved(request(0))
			b.set(storing("redeemer"), nil)
			began := time.Now()
			if _, err := cut.Redeem(t.Context(), a.ID(), digest0(), "ex"); !errors.Is(err, hold.ErrLedger) || time.Since(began) != 0 {
				t.Errorf("happened %v: Redeem = %v after %v, want ErrLedger at once", happened, err, time.Since(began))
			}
			if _, err := cut.Redeem(t.Context(), a.ID(), digest0(), "ex2"); !errors.Is(err, hold.ErrSpent) {
				t.Errorf("happened %v: the second Redeem = %v, want ErrSpent", happened, err)
			}
			a.Leave(false)
			b.set(nil, nil)
			after(t, 20*time.Second)
			r, err := other.Get(t.Context(), a.ID())
			if happened && (err != nil || r.State != hold.Spent || r.AnsweredAt.IsZero()) {
				t.Errorf("on record: %v, answered %v, %v; want it spent and over", r.State, r.AnsweredAt, err)
			}
			if !happened && (err != nil || r.State != hold.Approved) {
				t.Errorf("on record: %v, %v; want it approved still", r.State, err)
			}
			y := other.attach(request(0))
			if (y.ID() == a.ID()) == happened {
				t.Errorf("happened %v: the same call met hold %s, the first one was %s", happened, y.ID(), a.ID())
			}
			y.Leave(false)
		})
	}
}

func TestAnAnswerThatWasNotedAndNotAcknowledgedIsNoted(t *testing.T) {
	inGap(t, true, func(t *testing.T, b *broken, cut, other *office) {
		a := cut.approved(request(0))
		if _, err := cut.Redeem(t.Context(), a.ID(), digest0(), "ex"); err != nil {
			t.Fatal(err)
		}
		lost := false
		b.set(func(e hold.Entry) bool {
			was := lost
			lost = lost || storing("answered_at")(e)
			return lost && !was
		}, nil)
		if err := cut.Answered(t.Context(), a.ID()); err != nil || !lost {
			t.Errorf("Answered = %v, a Store was lost: %v", err, lost)
		}
		after(t, time.Second)
		b.set(nil, nil)
		if r, err := other.Get(t.Context(), a.ID()); err != nil || r.AnsweredAt.IsZero() {
			t.Errorf("on record: %v, %v; want it answered", r.AnsweredAt, err)
		}
		a.Leave(true)
	})
}

func TestAnAnswerThatCannotBeNotedIsNotedWhenTheLedgerIsBack(t *testing.T) {
	inGap(t, false, func(t *testing.T, b *broken, cut, other *office) {
		a := cut.approved(request(0))
		if _, err := cut.Redeem(t.Context(), a.ID(), digest0(), "ex"); err != nil {
			t.Fatal(err)
		}
		b.set(everyStore, everyLoad)
		began := time.Now()
		if err := cut.Answered(t.Context(), a.ID()); err != nil || time.Since(began) > 2*time.Second {
			t.Errorf("Answered = %v after %v; the caller waits for upstream's answer meanwhile", err, time.Since(began))
		}
		after(t, 15*time.Second)
		other.refused(request(0), hold.ErrDuplicate)
		b.set(nil, nil)
		after(t, 6*time.Second)
		y := other.attach(request(0)) // and not in ten minutes
		if y.ID() == a.ID() {
			t.Error("the answered hold is joined again")
		}
		y.Leave(false)
		a.Leave(true)
	})
}

// One that is cut off from the ledger for good lets its lease run out, and others say what is known.
func TestAnAnswerThatIsNeverNotedIsUnknownElsewhere(t *testing.T) {
	inGap(t, false, func(t *testing.T, b *broken, cut, other *office) {
		a := cut.approved(request(0))
		if _, err := cut.Redeem(t.Context(), a.ID(), digest0(), "ex"); err != nil {
			t.Fatal(err)
		}
		b.set(everyStore, everyLoad)
		if err := cut.Answered(t.Context(), a.ID()); err != nil {
			t.Error(err)
		}
		after(t, 35*time.Second)
		other.refused(request(0), hold.ErrOutcomeUnknown)
		a.Leave(true)
		drained := make(chan error, 1)
		go func() { drained <- cut.Drain(t.Context()) }() // it ends what still tries
		synctest.Wait()
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}
