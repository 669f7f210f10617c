// Package storetest is the conformance suite of hold.Ledger. An implementation that passes it may hold approvals.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"countersign/internal/hold"
)

// patience bounds what a ledger on a network may take before it counts as hanging.
const patience = 2 * time.Minute

// Run runs the suite. open returns an empty ledger of the test's own.
func Run(t *testing.T, open func(t *testing.T) hold.Ledger) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, l hold.Ledger){
		"an absent document has revision 0 and no value":                  absent,
		"a document is created once":                                      createOnce,
		"a store at another revision is stale and changes nothing":        stale,
		"a removed document is gone and can be created again":             removal,
		"an empty value is a document":                                    emptyValue,
		"values are the ledger's own copies":                              copies,
		"what is too large or misnamed is refused":                        limits,
		"an ended context does nothing":                                   endedContext,
		"of many that create at once one wins":                            raceToCreate,
		"no increment is lost under concurrency":                          counter,
		"a read never goes back":                                          monotonicReads,
		"a document is not removed before its TTL, and a store renews it": ttlNotEarly,
		"a watch yields what is there, a mark, and changes":               watchOrder,
		"a watch yields only its prefix":                                  watchPrefix,
		"a watch sees removals":                                           watchRemoval,
		"a slow watch sees the last value of every key":                   watchLast,
		"a watch ends with its context":                                   watchEnds,
		"a watch can be left":                                             watchLeft,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func absent(t *testing.T, l hold.Ledger) {
	e := load(t, l, "hold.none")
	if e.Value != nil || e.Rev != 0 {
		t.Errorf("Load = %q at %d, want nothing at 0", e.Value, e.Rev)
	}
}

func createOnce(t *testing.T, l hold.Ledger) {
	rev := store(t, l, "hold.a", "one", 0)
	if rev == 0 {
		t.Error("Store returned revision 0 for a document that is there")
	}
	if _, err := l.Store(t.Context(), entry("hold.a", "two", 0)); !errors.Is(err, hold.ErrStale) {
		t.Errorf("second create = %v, want ErrStale", err)
	}
	expect(t, l, "hold.a", "one", rev)
}

func stale(t *testing.T, l hold.Ledger) {
	first := store(t, l, "hold.a", "one", 0)
	second := store(t, l, "hold.a", "two", first)
	if second <= first {
		t.Errorf("revision went from %d to %d, want it to grow", first, second)
	}
	for _, rev := range []uint64{0, first, second + 1} {
		if _, err := l.Store(t.Context(), entry("hold.a", "three", rev)); !errors.Is(err, hold.ErrStale) {
			t.Errorf("Store at %d = %v, want ErrStale", rev, err)
		}
		if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Rev: rev}); !errors.Is(err, hold.ErrStale) {
			t.Errorf("removal at %d = %v, want ErrStale", rev, err)
		}
	}
	if _, err := l.Store(t.Context(), entry("hold.none", "x", 7)); !errors.Is(err, hold.ErrStale) {
		t.Errorf("Store at 7 of nothing = %v, want ErrStale", err)
	}
	expect(t, l, "hold.a", "two", second)
}

func removal(t *testing.T, l hold.Ledger) {
	first := store(t, l, "hold.a", "one", 0)
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Rev: first}); err != nil {
		t.Fatalf("removal: %v", err)
	}
	absentKey(t, l, "hold.a")
	if _, err := l.Store(t.Context(), entry("hold.a", "late", first)); !errors.Is(err, hold.ErrStale) {
		t.Errorf("Store at the removed revision = %v, want ErrStale", err)
	}
	if again := store(t, l, "hold.a", "two", 0); again <= first {
		t.Errorf("revision after re-creation is %d, want more than %d", again, first)
	}
}

func emptyValue(t *testing.T, l hold.Ledger) {
	rev, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte{}})
	if err != nil || rev == 0 {
		t.Fatalf("Store = %d, %v", rev, err)
	}
	if e := load(t, l, "hold.a"); e.Value == nil || len(e.Value) != 0 || e.Rev != rev {
		t.Errorf("Load = %v at %d, want an empty value at %d", e.Value, e.Rev, rev)
	}
}

func copies(t *testing.T, l hold.Ledger) {
	buf := []byte("one")
	rev, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: buf})
	if err != nil {
		t.Fatal(err)
	}
	copy(buf, "XXX")
	expect(t, l, "hold.a", "one", rev)
}

func limits(t *testing.T, l hold.Ledger) {
	big := make([]byte, hold.MaxValue)
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.big", Value: big}); err != nil {
		t.Errorf("Store of MaxValue bytes: %v", err)
	}
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.more", Value: append(big, 0)}); !errors.Is(err, hold.ErrTooLarge) {
		t.Errorf("Store of MaxValue+1 bytes = %v, want ErrTooLarge", err)
	}
	absentKey(t, l, "hold.more")
	for _, key := range []string{"", "hold.", ".a", "hold..a", "hold.*", "hold.>", "hold.a b", "hold.ä", "a/b", string(bytes.Repeat([]byte("a"), hold.MaxKey+1))} {
		if _, err := l.Store(t.Context(), entry(key, "x", 0)); !errors.Is(err, hold.ErrKey) {
			t.Errorf("Store of key %q = %v, want ErrKey", key, err)
		}
		if _, err := l.Load(t.Context(), key); !errors.Is(err, hold.ErrKey) {
			t.Errorf("Load of key %q = %v, want ErrKey", key, err)
		}
	}
	long := string(bytes.Repeat([]byte("a"), hold.MaxKey))
	expect(t, l, long, "x", store(t, l, long, "x", 0))
}

func endedContext(t *testing.T, l hold.Ledger) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Store(ctx, entry("hold.a", "one", 0)); !errors.Is(err, context.Canceled) {
		t.Errorf("Store = %v, want context.Canceled", err)
	}
	if _, err := l.Load(ctx, "hold.a"); !errors.Is(err, context.Canceled) {
		t.Errorf("Load = %v, want context.Canceled", err)
	}
	absentKey(t, l, "hold.a")
}

func entry(key, value string, rev uint64) hold.Entry {
	return hold.Entry{Key: key, Value: []byte(value), Rev: rev}
}

func store(t *testing.T, l hold.Ledger, key, value string, rev uint64) uint64 {
	t.Helper()
	rev, err := l.Store(t.Context(), entry(key, value, rev))
	if err != nil {
		t.Fatalf("Store %s: %v", key, err)
	}
	return rev
}

func load(t *testing.T, l hold.Ledger, key string) hold.Entry {
	t.Helper()
	e, err := l.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load %s: %v", key, err)
	}
	return e
}

func expect(t *testing.T, l hold.Ledger, key, value string, rev uint64) {
	t.Helper()
	if e := load(t, l, key); string(e.Value) != value || e.Rev != rev || e.Key != key {
		t.Errorf("Load %s = %s=%q at %d, want %q at %d", key, e.Key, e.Value, e.Rev, value, rev)
	}
}

func absentKey(t *testing.T, l hold.Ledger, key string) {
	t.Helper()
	if e := load(t, l, key); e.Value != nil || e.Rev != 0 {
		t.Errorf("%s is there: %q at %d", key, e.Value, e.Rev)
	}
}
