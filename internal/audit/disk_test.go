package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"countersign/internal/audit"
)

// disk opens real files, and misbehaves on demand.
type disk struct {
	mu       sync.Mutex
	room     int // bytes that still fit; negative: no end
	syncErr  error
	truncErr error
	syncs    int
	lazy     bool          // syncs reach no disk, where only the order of bytes matters
	gate     chan struct{} // when set, a sync says so on entered and waits for gate to close
	entered  chan struct{}
}

func newDisk() *disk { return &disk{room: -1} }

func (d *disk) set(f func(d *disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *disk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

func (d *disk) open(path string) (audit.File, error) {
	f, err := audit.OpenFile(path)
	if err != nil {
		return nil, err
	}
	return &file{File: f, d: d}, nil
}

type file struct {
	audit.File
	d *disk
}

func (f *file) Write(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.room < 0 || len(p) <= f.d.room {
		if f.d.room > 0 {
			f.d.room -= len(p)
		}
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:f.d.room]) // a full disk takes what fits
	f.d.room = 0
	return n, errors.Join(err, syscall.ENOSPC)
}

func (f *file) Sync() error {
	f.d.mu.Lock()
	f.d.syncs++
	err, gate, entered, lazy := f.d.syncErr, f.d.gate, f.d.entered, f.d.lazy
	f.d.mu.Unlock()
	if gate != nil {
		entered <- struct{}{}
		<-gate
	}
	if err != nil || lazy {
		return err
	}
	return f.File.Sync()
}

func (f *file) Truncate(n int64) error {
	f.d.mu.Lock()
	err := f.d.truncErr
	f.d.mu.Unlock()
	if err != nil {
		return err
	}
	return f.File.Truncate(n)
}

func open(t testing.TB, o audit.Options) *audit.Journal {
	t.Helper()
	j, err := audit.Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = j.Close() }) // closed already, or the test says what is wrong with it
	return j
}

func pathIn(t testing.TB) string { return filepath.Join(t.TempDir(), "journal.jsonl") }

func verify(t testing.TB, path string) audit.Report {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // the test looks elsewhere
	r, err := audit.Verify(t.Context(), f)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func record(t testing.TB, j *audit.Journal, e audit.Event) {
	t.Helper()
	if err := j.Record(t.Context(), e); err != nil {
		t.Fatalf("Record: %v", err)
	}
}

func decision(n int) audit.Event {
	return audit.Event{Kind: audit.Decision, Exchange: fmt.Sprintf("ex-%d", n), Effect: "allow"}
}

// eventually waits for something that another goroutine does on a real disk.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func has(t testing.TB, path, text string) bool {
	t.Helper()
	return bytes.Contains(read(t, path), []byte(text))
}

// buffer is a file in memory, for tests that only want lines. It has no name, so a sync would find it gone: nobody syncs
// it but Open.
type buffer struct{ b []byte }

func (b *buffer) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(b.b).ReadAt(p, off) }
func (b *buffer) Write(p []byte) (int, error)             { b.b = append(b.b, p...); return len(p), nil }
func (b *buffer) Close() error                            { return nil }
func (b *buffer) Stat() (os.FileInfo, error)              { return info{int64(len(b.b))}, nil }
func (b *buffer) Sync() error                             { return nil }
func (b *buffer) Truncate(n int64) error                  { b.b = b.b[:n]; return nil }

type info struct{ size int64 }

func (i info) Name() string       { return "journal.jsonl" }
func (i info) Size() int64        { return i.size }
func (i info) Mode() os.FileMode  { return 0o600 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }
