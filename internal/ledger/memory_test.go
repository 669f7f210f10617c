package ledger_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/ledger/storetest"
)

func TestMemoryConforms(t *testing.T) {
	storetest.Run(t, func(*testing.T) hold.Ledger { return ledger.NewMemory() })
}

func TestADocumentGoesWhenItsTimeHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory()
		for i, key := range []string{"hold.c", "hold.a", "hold.b"} {
			if _, err := m.Store(t.Context(), hold.Entry{Key: key, Value: []byte("x"), TTL: time.Duration(3-i) * time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.Store(t.Context(), hold.Entry{Key: "hold.d", Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		for minute, want := range []int{4, 3, 2, 1, 1} {
			if got := m.Len(); got != want {
				t.Errorf("after %d minutes: %d documents, want %d", minute, got, want)
			}
			after(t, time.Minute+2*time.Second)
		}
	})
}

// after lets the bubble's time pass.
func after(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
	synctest.Wait()
}
