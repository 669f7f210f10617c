package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/ledger/storetest"
)

// fleet is what the replicas of a fleet see of one ledger: every call goes to the next of them. Like a desk it rides over the
// moments in which a cluster elects a leader, which a busy machine may bring about at any time.
type fleet struct {
	replicas []*ledger.Ledger
	turn     atomic.Uint64
}

func (f *fleet) next() *ledger.Ledger {
	return f.replicas[f.turn.Add(1)%uint64(len(f.replicas))]
}

func (f *fleet) Load(ctx context.Context, key string) (hold.Entry, error) {
	for {
		e, err := f.next().Load(ctx, key)
		if !errors.Is(err, hold.ErrLedger) || ctx.Err() != nil {
			return e, err
		}
	}
}

func (f *fleet) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	for {
		rev, err := f.next().Store(ctx, e)
		if !errors.Is(err, hold.ErrLedger) || ctx.Err() != nil {
			return rev, err
		}
		now, err := f.Load(ctx, e.Key)
		if err != nil {
			return 0, err
		}
		if now.Rev != e.Rev && bytes.Equal(now.Value, e.Value) {
			return now.Rev, nil
		}
	}
}

func (f *fleet) Watch(ctx context.Context, prefix string) iter.Seq2[hold.Entry, error] {
	return func(yield func(hold.Entry, error) bool) {
		seen, marked := map[string]uint64{}, false
		for {
			for e, err := range f.next().Watch(ctx, prefix) {
				if errors.Is(err, hold.ErrLedger) && ctx.Err() == nil {
					break
				}
				if err == nil && (e.Key == "" && marked || e.Key != "" && e.Rev <= seen[e.Key]) {
					continue
				}
				marked = marked || e.Key == ""
				seen[e.Key] = e.Rev
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

func TestReplicasOnAClusterConform(t *testing.T) {
	c := startCluster(t)
	var buckets atomic.Int64
	storetest.Run(t, func(t *testing.T) hold.Ledger {
		bucket := fmt.Sprintf("b%d", buckets.Add(1))
		f := &fleet{}
		for node := range c.nodes {
			f.replicas = append(f.replicas, open(t, ledger.Options{URL: c.url(node), Bucket: bucket}))
		}
		return f
	})
}

func TestWritesResumeWhenTheLeaderIsLost(t *testing.T) {
	c := startCluster(t)
	l := open(t, ledger.Options{URL: c.url(0, 1, 2), Bucket: "b"})
	rev, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("before")})
	if err != nil {
		t.Fatal(err)
	}
	seen := changes(t, l, "hold.")
	lost := c.leader(t, "b")
	stop(c.nodes[lost])
	put(t, l, hold.Entry{Key: "hold.a", Value: []byte("after"), Rev: rev})
	other := open(t, ledger.Options{URL: c.url((lost+1)%3, (lost+2)%3), Bucket: "b"})
	if e, err := other.Load(t.Context(), "hold.a"); err != nil || string(e.Value) != "after" {
		t.Errorf("another replica loads %q, %v, want after", e.Value, err)
	}
	for e := range seen { // whether the watch went on or was begun anew
		if string(e.Value) == "after" {
			return
		}
	}
	t.Error("the watch never saw the change")
}

func TestOneNodeOfThreeNeitherStoresNorLoads(t *testing.T) {
	c := startCluster(t)
	l := open(t, ledger.Options{URL: c.url(0, 1, 2), Bucket: "b"})
	rev, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("before")})
	if err != nil {
		t.Fatal(err)
	}
	left := c.leader(t, "b")
	stop(c.nodes[(left+1)%3])
	stop(c.nodes[(left+2)%3])
	short := func(call func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		return call(ctx)
	}
	for _, n := range []string{"at once", "and again"} { // the node still thinks that it leads
		if err := short(func(ctx context.Context) error {
			_, err := l.Store(ctx, hold.Entry{Key: "hold.a", Value: []byte("after"), Rev: rev})
			return err
		}); err == nil { // ErrStale will do: the first one may still be under way
			t.Errorf("Store %s went through, want a failure", n)
		}
		if err := short(func(ctx context.Context) error {
			e, err := l.Load(ctx, "hold.a")
			if err == nil {
				err = fmt.Errorf("loaded %q", e.Value)
				t.Errorf("Load %s: %v, want a failure", n, err)
			}
			return err
		}); err == nil {
			t.Error("unreachable")
		}
		if err := short(l.Ready); err == nil {
			t.Errorf("Ready %s, want a failure", n)
		}
	}
}

// A leader that was cut off goes on to lead, for those who still reach it, until it notices.
func TestACutOffLeaderAnswersNoReadFromThePast(t *testing.T) {
	c := startCluster(t)
	everywhere := open(t, ledger.Options{URL: c.url(0, 1, 2), Bucket: "b"})
	rev, err := everywhere.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("approved")})
	if err != nil {
		t.Fatal(err)
	}
	old := c.leader(t, "b")
	inside := open(t, ledger.Options{URL: c.url(old), Bucket: "b"})
	outside := open(t, ledger.Options{URL: c.url((old+1)%3, (old+2)%3), Bucket: "b"})
	c.isolate(old, true)
	put(t, outside, hold.Entry{Key: "hold.a", Value: []byte("spent"), Rev: rev})
	for range 3 {
		if e, err := inside.Load(t.Context(), "hold.a"); err == nil && string(e.Value) != "spent" {
			t.Fatalf("Load through the old leader = %q, which is no longer true", e.Value)
		}
	}
	c.isolate(old, false)
	for {
		e, err := inside.Load(t.Context(), "hold.a")
		if err == nil && string(e.Value) == "spent" {
			return
		}
		if err == nil {
			t.Fatalf("Load after the cut = %q, which is no longer true", e.Value)
		}
		pause(t)
	}
}

// put stores a document as a desk does: what may have happened or not is looked up.
func put(t *testing.T, l hold.Ledger, e hold.Entry) {
	t.Helper()
	for {
		_, err := l.Store(t.Context(), e)
		if err == nil {
			return
		}
		now, err := l.Load(t.Context(), e.Key)
		if err == nil && string(now.Value) == string(e.Value) {
			return
		}
		if err == nil && now.Rev != e.Rev {
			t.Fatalf("%s is %q, which nobody stored", e.Key, now.Value)
		}
		pause(t)
	}
}

// changes follows a prefix as a desk does, beginning anew when a watch breaks off.
func changes(t *testing.T, l hold.Ledger, prefix string) <-chan hold.Entry {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan hold.Entry)
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		defer close(out)
		for ctx.Err() == nil {
			for e, err := range l.Watch(ctx, prefix) {
				if err != nil {
					t.Logf("watch: %v", err)
					break
				}
				select {
				case out <- e:
				case <-ctx.Done():
				}
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return out
}
