package hold_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/providers"
)

// inGap runs a test with two desks over one ledger, the first of which reaches it through b.
func inGap(t *testing.T, happened bool, test func(t *testing.T, b *broken, cut, other *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m, p := ledger.NewMemory(), &phone{}
		b := &broken{Ledger: m, after: happened}
		cut := newOffice(t, m, p, func(op *hold.Options) { op.Ledger, op.Shared = b, true })
		test(t, b, cut, newOffice(t, m, p, func(op *hold.Options) { op.Shared = true }))
	})
}

func everyStore(hold.Entry) bool { return true }
func everyLoad(string) bool      { return true }

// mendAfter lets the ledger fail from now on, for d.
func mendAfter(b *broken, d time.Duration, store func(hold.Entry) bool, load func(string) bool) {
	b.set(store, load)
	time.AfterFunc(d, func() { b.set(nil, nil) })
}

func TestAFreshCallRidesOverTheElectionOfALeader(t *testing.T) {
	for name, fails := range map[string]struct {
		store    func(hold.Entry) bool
		load     func(string) bool
		happened bool
	}{
		"nothing answers":                     {everyStore, everyLoad, false},
		"writes are not taken":                {everyStore, nil, false},
		"writes happen, and are not answered": {everyStore, nil, true},
		"only the hold's own write is lost":   {func(e hold.Entry) bool { return strings.HasPrefix(e.Key, "hold.") }, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			inGap(t, fails.happened, func(t *testing.T, b *broken, cut, other *office) {
				mendAfter(b, 7*time.Second, fails.store, fails.load)
				began := time.Now()
				a := cut.attach(request(0))
				if took := time.Since(began); took > 9*time.Second {
					t.Errorf("the call was held up for %v by a gap of 7s", took)
				}
				after(t, 20*time.Second) // whatever tries before are taken back
				cut.pushes(1)
				other.refused(request(0), hold.ErrDuplicate)
				if list, err := cut.List(t.Context()); err != nil || len(list) != 1 || list[0].ID != a.ID() {
					t.Errorf("on record: %v, %v; want the one hold", list, err)
				}
				cut.phone.answer(providers.Approved)
				r, err := a.Wait(t.Context())
				if err != nil || r.State != hold.Approved {
					t.Fatalf("Wait = %v, %v", r.State, err)
				}
				if _, err := cut.Redeem(t.Context(), r.ID, r.Digest, "ex"); err != nil {
					t.Error(err)
				}
				a.Leave(true)
				if err := cut.Answered(t.Context(), r.ID); err != nil {
					t.Error(err)
				}
				if cut.Len() != 0 {
					t.Errorf("%d live holds, want none", cut.Len())
				}
			})
		})
	}
}

func TestACallerWhoComesBackRidesOverTheElectionToo(t *testing.T) {
	for _, happened := range []bool{false, true} {
		inGap(t, happened, func(t *testing.T, b *broken, cut, other *office) {
			x := other.attach(request(0))
			x.Leave(false)
			mendAfter(b, 5*time.Second, func(e hold.Entry) bool { return strings.HasPrefix(e.Key, "hold.") }, nil)
			y := cut.attach(request(0))
			if y.ID() != x.ID() {
				t.Errorf("hold %s, want %s", y.ID(), x.ID())
			}
			cut.pushes(1)
			y.Leave(false)
		})
	}
}

func TestACallerWhoLeavesInTheElectionIsNotTakenForASecondOneLater(t *testing.T) {
	inGap(t, false, func(t *testing.T, b *broken, cut, other *office) {
		x := cut.attach(request(0))
		mendAfter(b, 8*time.Second, everyStore, everyLoad)
		began := time.Now()
		x.Leave(false)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("the caller's connection was kept for %v", took)
		}
		after(t, 5*time.Second)
		y := other.attach(request(0))
		if y.ID() != x.ID() {
			t.Errorf("hold %s, want %s", y.ID(), x.ID())
		}
		y.Leave(false)
	})
}

func TestALedgerThatStaysAwayRefusesAfterTenSeconds(t *testing.T) {
	for _, happened := range []bool{false, true} {
		inGap(t, happened, func(t *testing.T, b *broken, cut, other *office) {
			mendAfter(b, 12*time.Second, everyStore, nil)
			began := time.Now()
			cut.refused(request(0), hold.ErrLedger)
			if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
				t.Errorf("refused after %v, want about 10s", took)
			}
			after(t, 20*time.Second)
			cut.pushes(0)
			other.attach(request(0)).Leave(false) // what was stored and not acknowledged has been taken back
			other.pushes(1)
		})
	}
}

func TestAGapKeepsNobodyWhoMustNotBeKept(t *testing.T) {
	t.Run("a caller who leaves", func(t *testing.T) {
		inGap(t, false, func(t *testing.T, b *broken, cut, _ *office) {
			b.set(everyStore, everyLoad)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			began := time.Now()
			if _, err := cut.Attach(ctx, request(0)); !errors.Is(err, hold.ErrLedger) || time.Since(began) != 3*time.Second {
				t.Errorf("Attach = %v after %v, want ErrLedger when the caller left", err, time.Since(began))
			}
		})
	})
	t.Run("a sidecar that stops", func(t *testing.T) {
		inGap(t, false, func(t *testing.T, b *broken, cut, _ *office) {
			b.set(everyStore, everyLoad)
			began := time.Now()
			time.AfterFunc(2*time.Second, func() { _ = cut.Drain(t.Context()) }) // drained once more at the end
			cut.refused(request(0), hold.ErrDraining)
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("refused after %v, want 2s", took)
			}
		})
	})
	t.Run("whose document somebody else wrote", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := ledger.NewMemory()
			o := newOffice(t, m, &phone{}, func(op *hold.Options) { op.Ledger = forged{m} })
			began := time.Now()
			o.refused(request(0), hold.ErrUnauthentic)
			if took := time.Since(began); took != 0 {
				t.Errorf("refused after %v, want at once", took)
			}
		})
	})
	t.Run("more than there may be holds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := ledger.NewMemory()
			b := &broken{Ledger: m}
			o := newOffice(t, m, &phone{}, func(op *hold.Options) { op.Ledger, op.MaxHolds = b, 1 })
			b.set(everyStore, everyLoad)
			first := make(chan error, 1)
			go func() {
				_, err := o.Attach(t.Context(), request(0))
				first <- err
			}()
			synctest.Wait()
			began := time.Now()
			o.refused(request(1), hold.ErrLedger)
			if took := time.Since(began); took != 0 {
				t.Errorf("refused after %v, want at once", took)
			}
			if err := <-first; !errors.Is(err, hold.ErrLedger) {
				t.Errorf("the first was refused with %v, want ErrLedger", err)
			}
		})
	})
}

// forged is a ledger in which nothing is authentic.
type forged struct{ *ledger.Memory }

func (forged) Load(context.Context, string) (hold.Entry, error) {
	return hold.Entry{}, hold.ErrUnauthentic
}
