package ledger_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"countersign/internal/hold"
)

func TestALookAtTheLedgerMakesNothing(t *testing.T) {
	s := start(t, server.Options{})
	o := single("nats://" + s.Addr().String())
	l := openAny(t, o)
	for range 2 { // the first look did not make it either
		if made, err := l.Look(t.Context()); made || err != nil {
			t.Fatalf("Look before there is a bucket = %v, %v", made, err)
		}
	}
	create(t, l, "hold.a", "x")
	if made, err := l.Look(t.Context()); !made || err != nil {
		t.Errorf("Look = %v, %v, want a good bucket", made, err)
	}
	o.Replicas = 3
	if _, err := openAny(t, o).Look(t.Context()); !errors.Is(err, hold.ErrLedger) {
		t.Errorf("Look at a bucket with too few copies = %v, want ErrLedger", err)
	}
}
