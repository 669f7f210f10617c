package hold_test

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/providers"
)

func TestARefusalIsCountedHoweverLongTheLedgerIsAway(t *testing.T) {
	for _, gap := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 20 * time.Minute} {
		t.Run(gap.String(), func(t *testing.T) {
			inGap(t, false, func(t *testing.T, b *broken, cut, other *office) {
				a := cut.attach(request(0))
				after(t, time.Second) // the person is asked
				mendAfter(b, gap, everyStore, everyLoad)
				cut.phone.answer(providers.Fraud)
				_, _ = a.Wait(t.Context()) // refused, for one reason or the other
				after(t, gap+time.Minute)
				a.Leave(false)
				blocked, err := other.Blocked(t.Context())
				if err != nil || len(blocked) != 1 || blocked[0].Reason != "fraud" {
					t.Errorf("blocked = %v, %v; want the person, for fraud", blocked, err)
				}
				r := request(0)
				r.Digest[0] = 9
				if other, err := other.Attach(t.Context(), r); err == nil {
					_, _ = other.Wait(t.Context())
					other.Leave(false)
				}
				other.pushes(1)
				if kinds := cut.journal.kinds(); strings.Count(strings.Join(kinds, " "), audit.HoldEnded) != 1 {
					t.Errorf("journal: %q, want one end", kinds)
				}
			})
		})
	}
}

func TestAnAdoptionThatWasNotAcknowledgedIsMadeAgain(t *testing.T) {
	inGap(t, true, func(t *testing.T, b *broken, cut, other *office) {
		x := other.attach(request(0))
		after(t, time.Second)
		other.pushes(1)
		x.Leave(false)
		if err := other.Drain(t.Context()); err != nil { // its holds are for another replica to go on with
			t.Fatal(err)
		}
		mendAfter(b, 3*time.Second, func(e hold.Entry) bool { return strings.HasPrefix(e.Key, "hold.") }, nil)
		y := cut.attach(request(0))
		if y.ID() != x.ID() {
			t.Errorf("hold %s, want %s, which the person was asked about", y.ID(), x.ID())
		}
		cut.phone.answer(providers.Fraud)
		if r, err := y.Wait(t.Context()); err != nil || r.State != hold.Fraud {
			t.Errorf("hold = %v, %v; want fraud", r.State, err)
		}
		y.Leave(true)
		cut.pushes(1)
	})
}
