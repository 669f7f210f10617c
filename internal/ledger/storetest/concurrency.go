package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hold"
)

func raceToCreate(t *testing.T, l hold.Ledger) {
	var won atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			_, err := l.Store(t.Context(), entry("hold.a", strconv.Itoa(i), 0))
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, hold.ErrStale):
				t.Errorf("Store: %v", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d creations won, want 1", won.Load())
	}
}

func counter(t *testing.T, l hold.Ledger) {
	const workers, each = 8, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if !increment(t, l, "person.n") {
					return
				}
			}
		})
	}
	wg.Wait()
	if e := load(t, l, "person.n"); string(e.Value) != strconv.Itoa(workers*each) {
		t.Errorf("counted %s, want %d", e.Value, workers*each)
	}
}

func increment(t *testing.T, l hold.Ledger, key string) bool {
	for {
		e, err := l.Load(t.Context(), key)
		if err != nil {
			t.Errorf("Load: %v", err)
			return false
		}
		n := 0
		if e.Value != nil {
			if n, err = strconv.Atoi(string(e.Value)); err != nil {
				t.Errorf("value %q: %v", e.Value, err)
				return false
			}
		}
		_, err = l.Store(t.Context(), entry(key, strconv.Itoa(n+1), e.Rev))
		if err == nil {
			return true
		}
		if !errors.Is(err, hold.ErrStale) {
			t.Errorf("Store: %v", err)
			return false
		}
	}
}

// monotonicReads catches a ledger that answers from a follower that lags behind.
func monotonicReads(t *testing.T, l hold.Ledger) {
	var written atomic.Uint64
	written.Store(store(t, l, "hold.a", "0", 0))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				before := written.Load()
				e, err := l.Load(t.Context(), "hold.a")
				if err != nil || e.Rev < before {
					t.Errorf("Load = revision %d, %v; %d was stored before it began", e.Rev, err, before)
					return
				}
			}
		})
	}
	for i := range 200 {
		written.Store(store(t, l, "hold.a", strconv.Itoa(i), written.Load()))
	}
	close(stop)
	wg.Wait()
}

func ttlNotEarly(t *testing.T, l hold.Ledger) {
	rev, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("one"), TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("two"), Rev: rev, TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if rev, err = l.Store(t.Context(), hold.Entry{Key: "hold.b", Value: []byte("gone"), TTL: time.Second}); err != nil || rev == 0 {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e, err := range l.Watch(ctx, "hold.") {
		if err != nil {
			t.Fatalf("document with a TTL of a second is still there: %v", err)
		}
		if e.Key == "hold.b" && e.Value == nil {
			break
		}
	}
	if e := load(t, l, "hold.a"); string(e.Value) != "two" {
		t.Errorf("renewed document is %q, want two", e.Value)
	}
}
