package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"countersign/internal/hold"
	"countersign/internal/ledger"
)

// BenchmarkLedger measures 1 KB documents in memory, on this machine's disk (every write synced) and on three nodes in this process.
func BenchmarkLedger(b *testing.B) {
	for name, open := range map[string]func(*testing.B) hold.Ledger{
		"memory":   func(*testing.B) hold.Ledger { return ledger.NewMemory() },
		"embedded": func(b *testing.B) hold.Ledger { return benchOpen(b, ledger.Options{Dir: b.TempDir()}) },
		"cluster": func(b *testing.B) hold.Ledger {
			return benchOpen(b, ledger.Options{URL: startCluster(b).url(0, 1, 2), Key: testKey})
		},
	} {
		b.Run(name, func(b *testing.B) {
			l := open(b)
			b.Run("store", func(b *testing.B) { benchStore(b, l) })
			b.Run("load", func(b *testing.B) { benchLoad(b, l, "hold.load") })
			b.Run("load absent", func(b *testing.B) { benchLoad(b, l, "hold.none") })
			b.Run("watch", func(b *testing.B) { benchWatch(b, l) })
			b.Run("16 writers", func(b *testing.B) { benchWriters(b, l) })
		})
	}
}

// BenchmarkOpen measures what an embedded ledger adds to the start.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		l, err := ledger.Open(b.Context(), ledger.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

var kilobyte = []byte(strings.Repeat("x", 1<<10))

func benchOpen(b *testing.B, o ledger.Options) *ledger.Ledger {
	b.Helper()
	l, err := ledger.Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeNow(b, l) })
	ready(b, l)
	return l
}

func benchStore(b *testing.B, l hold.Ledger) {
	e, err := l.Load(b.Context(), "hold.store")
	if err != nil {
		b.Fatal(err)
	}
	e.Value = kilobyte
	for b.Loop() {
		if e.Rev, err = l.Store(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

func benchLoad(b *testing.B, l hold.Ledger, key string) {
	if key != "hold.none" {
		e, err := l.Load(b.Context(), key)
		if err != nil {
			b.Fatal(err)
		}
		e.Value = kilobyte
		if _, err := l.Store(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := l.Load(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

// benchWatch measures a store until a watch has seen it.
func benchWatch(b *testing.B, l hold.Ledger) {
	ctx, cancel := context.WithCancel(b.Context())
	seen, done := make(chan hold.Entry), make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		for e, err := range l.Watch(ctx, "watched.") {
			if err != nil {
				return
			}
			select {
			case seen <- e:
			case <-ctx.Done():
			}
		}
	}()
	var e hold.Entry
	for e = range seen {
		if e.Key == "" {
			break
		}
	}
	last, err := l.Load(b.Context(), "watched.a")
	if err != nil {
		b.Fatal(err)
	}
	last.Value = kilobyte
	for b.Loop() {
		if last.Rev, err = l.Store(b.Context(), last); err != nil {
			b.Fatal(err)
		}
		for e = <-seen; e.Rev < last.Rev; e = <-seen {
		}
	}
}

func benchWriters(b *testing.B, l hold.Ledger) {
	b.SetParallelism(8) // times the processors
	turns := make(chan int, 64)
	for i := range cap(turns) {
		turns <- i
	}
	b.RunParallel(func(pb *testing.PB) {
		key := fmt.Sprintf("hold.w%d", <-turns)
		e, err := l.Load(b.Context(), key)
		for pb.Next() && err == nil {
			e.Value = kilobyte
			e.Rev, err = l.Store(b.Context(), e)
		}
		if err != nil {
			b.Error(err)
		}
	})
}
