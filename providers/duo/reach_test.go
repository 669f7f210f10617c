package duo_test

import (
	"testing"

	duosim "countersign/internal/sim/duo"
	"countersign/providers"
)

func TestWhoCanBeReachedIsToldWithoutAskingThem(t *testing.T) {
	sim := startSim(t, duosim.Script{})
	v := open(t, options(sim))
	for id, want := range map[string]bool{alice: true, "nobody@example.com": false, "": false} {
		if got, err := v.Reachable(t.Context(), providers.Person{ID: id}); got != want || err != nil {
			t.Errorf("%q: Reachable = %v, %v; want %v", id, got, err, want)
		}
	}
	if n := len(sim.Pushes()); n != 0 {
		t.Errorf("%d pushes were sent", n)
	}
	if err := sim.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Reachable(t.Context(), providers.Person{ID: alice}); got || err == nil {
		t.Errorf("a service that is away: Reachable = %v, %v; want an error", got, err)
	}
}
