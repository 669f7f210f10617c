package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"countersign/internal/hold"
)

func watchOrder(t *testing.T, l hold.Ledger) {
	store(t, l, "hold.a", "one", 0)
	b := store(t, l, "hold.b", "one", 0)
	next := watch(t, l, "hold.")
	there := map[string]string{}
	for e := next(); e.Key != ""; e = next() {
		there[e.Key] = string(e.Value)
	}
	if want := map[string]string{"hold.a": "one", "hold.b": "one"}; !maps.Equal(there, want) {
		t.Errorf("before the mark: %v, want %v", there, want)
	}
	b2 := store(t, l, "hold.b", "two", b)
	if e := next(); e.Key != "hold.b" || string(e.Value) != "two" || e.Rev != b2 {
		t.Errorf("after the mark: %s=%q at %d, want hold.b=two at %d", e.Key, e.Value, e.Rev, b2)
	}
}

func watchPrefix(t *testing.T, l hold.Ledger) {
	store(t, l, "holder.a", "no", 0)
	store(t, l, "person.a", "no", 0)
	next := watch(t, l, "hold.")
	if e := next(); e.Key != "" {
		t.Errorf("yielded %s under hold.", e.Key)
	}
	store(t, l, "person.b", "no", 0)
	store(t, l, "hold.a", "yes", 0)
	if e := next(); e.Key != "hold.a" {
		t.Errorf("yielded %s under hold., want hold.a", e.Key)
	}
}

func watchRemoval(t *testing.T, l hold.Ledger) {
	rev := store(t, l, "hold.a", "one", 0)
	next := watch(t, l, "hold.")
	for e := next(); e.Key != ""; e = next() { // up to the mark
	}
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Rev: rev}); err != nil {
		t.Fatal(err)
	}
	if e := next(); e.Key != "hold.a" || e.Value != nil {
		t.Errorf("yielded %s=%q, want the removal of hold.a", e.Key, e.Value)
	}
}

func watchLast(t *testing.T, l hold.Ledger) {
	next := watch(t, l, "hold.")
	next() // the mark
	const keys, rounds = 5, 40
	want := map[string]uint64{}
	for i := range rounds { // nobody reads meanwhile
		for k := range keys {
			key := fmt.Sprintf("hold.k%d", k)
			want[key] = store(t, l, key, strconv.Itoa(i), want[key])
		}
	}
	seen := map[string]uint64{}
	for !maps.Equal(seen, want) {
		e := next()
		if e.Rev <= seen[e.Key] {
			t.Fatalf("%s went back from revision %d to %d", e.Key, seen[e.Key], e.Rev)
		}
		seen[e.Key] = e.Rev
	}
}

func watchEnds(t *testing.T, l hold.Ledger) {
	ctx, cancel := context.WithCancel(t.Context())
	var last error
	defer cancel()
	for _, err := range l.Watch(ctx, "hold.") {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the watch ended with %v, want context.Canceled", last)
	}
}

func watchLeft(t *testing.T, l hold.Ledger) {
	store(t, l, "hold.a", "one", 0)
	for range 3 { // leaving must neither hang nor disturb the next
		for e, err := range l.Watch(t.Context(), "") {
			if err != nil || e.Key != "hold.a" {
				t.Errorf("yielded %q, %v", e.Key, err)
			}
			break
		}
	}
	store(t, l, "hold.b", "one", 0)
}

// watch starts a watch and returns a function that yields its entries one by one.
func watch(t *testing.T, l hold.Ledger, prefix string) func() hold.Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	entries := make(chan hold.Entry)
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for e, err := range l.Watch(ctx, prefix) {
			if err != nil {
				return
			}
			select {
			case entries <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() hold.Entry {
		t.Helper()
		select {
		case e := <-entries:
			return e
		case <-done:
			t.Fatal("the watch ended")
		case <-time.After(patience):
			t.Fatal("the watch yields nothing")
		}
		return hold.Entry{}
	}
}
