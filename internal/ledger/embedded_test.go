package ledger_test

import (
	"context"
	"testing"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/ledger/storetest"
)

func TestEmbeddedConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) hold.Ledger { return openDir(t, t.TempDir()) })
}

// openDir opens an embedded ledger that is closed with the test.
func openDir(t *testing.T, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, l) })
	return l
}

func closeNow(t *testing.T, l *ledger.Ledger) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
