package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/policy"
)

func TestAJournalIsOneChainAcrossRestarts(t *testing.T) {
	path := pathIn(t)
	for n := range 3 {
		j := open(t, audit.Options{Path: path})
		record(t, j, decision(n))
		if err := j.Append(t.Context(), decision(n+10)); err != nil {
			t.Fatalf("Append: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	r := verify(t, path)
	if !r.Intact() || r.Records != 7 || r.LastSeq != 7 || r.FirstSeq != 1 {
		t.Errorf("Verify = %+v, want 7 records, intact", r)
	}
}

func TestAFileIsMadeForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "journal.jsonl")
	open(t, audit.Options{Path: path})
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s = %o, want %o", filepath.Base(name), got, want)
		}
	}
}

func TestOneProcessAtATimeHasTheJournal(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	if _, err := audit.Open(audit.Options{Path: path}); !errors.Is(err, audit.ErrLocked) {
		t.Fatalf("second Open = %v, want ErrLocked", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, audit.Options{Path: path})
}

func TestWhatIsNoJournalIsLeftAlone(t *testing.T) {
	for name, content := range map[string]string{
		"text":              "dear diary\n",
		"text, no newline":  "dear diary",
		"JSON Lines":        "{\"seq\":1,\"a\":2}\n{\"seq\":2}\n",
		"a chain's middle":  "",
		"an endless line":   strings.Repeat("x", 3<<20),
		"a long torn start": `{"seq":` + strings.Repeat("1", 2<<20),
	} {
		t.Run(name, func(t *testing.T) {
			path := pathIn(t)
			if content == "" {
				j := open(t, audit.Options{Path: path})
				record(t, j, decision(1))
				_ = j.Close() // only the file counts
				_, rest, _ := bytes.Cut(read(t, path), []byte("\n"))
				content = string(rest)
			}
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := audit.Open(audit.Options{Path: path}); !errors.Is(err, audit.ErrBroken) {
				t.Errorf("Open = %v, want ErrBroken", err)
			}
			if got := string(read(t, path)); got != content {
				t.Errorf("Open changed the file to %d bytes", len(got))
			}
		})
	}
	if _, err := audit.Open(audit.Options{Path: t.TempDir()}); err == nil {
		t.Error("Open of a directory succeeded")
	}
	if _, err := audit.Open(audit.Options{Path: "/dev/full"}); err == nil {
		t.Error("Open of a device succeeded")
	}
}

func TestABrokenEndRefusesToOpen(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	for n := range 5 {
		record(t, j, decision(n))
	}
	_ = j.Close() // only the file counts
	whole := read(t, path)
	changed := bytes.Replace(whole, []byte("ex-3"), []byte("ex-9"), 1)
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := audit.Open(audit.Options{Path: path})
	b, ok := errors.AsType[*audit.BrokenError](err)
	if !ok || b.Line != 5 {
		t.Errorf("Open = %v, want broken at line 5", err)
	}
	if !bytes.Equal(read(t, path), changed) {
		t.Error("Open changed the evidence")
	}
}

func TestBadEventsAreRefusedAndHarmNothing(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	for name, e := range map[string]audit.Event{
		"no kind":  {Exchange: "x"},
		"too long": {Kind: audit.Decision, Path: strings.Repeat("x", 300<<10)},
		"not JSON": {Kind: audit.Decision, Subject: &policy.Subject{Requester: policy.Requester{Claims: map[string]any{"f": func() {}}}}},
	} {
		if err := j.Record(t.Context(), e); !errors.Is(err, audit.ErrEvent) {
			t.Errorf("%s: Record = %v, want ErrEvent", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Record(ctx, decision(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Record = %v, want context.Canceled", err)
	}
	record(t, j, decision(2))
	if r := verify(t, path); r.Records != 2 {
		t.Errorf("records = %d, want 2", r.Records)
	}
	_ = j.Close() // the next line shows that it is closed
	for _, write := range []func(context.Context, audit.Event) error{j.Record, j.Append} {
		if err := write(t.Context(), decision(3)); !errors.Is(err, audit.ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
	}
	if err := j.Healthy(); !errors.Is(err, audit.ErrClosed) {
		t.Errorf("Healthy = %v, want ErrClosed", err)
	}
}

func TestManyCallersKeepOneChain(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := range 20 {
				write := j.Record
				if n%2 == 0 {
					write = j.Append
				}
				if err := write(t.Context(), decision(g*100+n)); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, path); !r.Intact() || r.Records != 321 {
		t.Errorf("Verify = %+v, want 321 records", r)
	}
}

func TestARestartFindsRedemptionsWithoutAnAnswer(t *testing.T) {
	path, now := pathIn(t), time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	dig := policy.Digest{1, 2, 3}
	redeemed := func(ex string) audit.Event {
		return audit.Event{Kind: audit.Redeemed, Exchange: ex, Hold: "h-" + ex, HoldKey: "k-" + ex, Digest: &dig,
			Subject: &policy.Subject{Requester: policy.Requester{ID: "alice@contoso.com", Assurance: policy.AssuranceAttested}}}
	}
	j := open(t, audit.Options{Path: path, Now: clock})
	record(t, j, redeemed("long-ago"))
	now = now.Add(20 * time.Minute)
	record(t, j, redeemed("answered"))
	record(t, j, redeemed("first"))
	record(t, j, audit.Event{Kind: audit.Completed, Exchange: "answered", Status: 204})
	now = now.Add(time.Second)
	record(t, j, redeemed("second"))
	if got := j.Unfinished(); len(got) != 0 {
		t.Errorf("Unfinished of a new journal = %v", got)
	}
	_ = j.Close() // a crash would do as well

	now = now.Add(10 * time.Minute)
	j = open(t, audit.Options{Path: path, Now: clock})
	got := j.Unfinished()
	if len(got) != 2 || got[0].Exchange != "first" || got[1].Exchange != "second" {
		t.Fatalf("Unfinished = %+v, want first, second", got)
	}
	if e := got[0]; e.HoldKey != "k-first" || e.Digest == nil || !e.Digest.Equal(dig) ||
		e.Subject.Requester.Assurance != policy.AssuranceAttested {
		t.Errorf("Unfinished[0] = %+v, lost something", e)
	}
}

func TestUnfinishedReadsOnlyTheEndOfALongJournal(t *testing.T) {
	path, now := pathIn(t), time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	j := open(t, audit.Options{Path: path, Now: func() time.Time { return now }})
	fill := func(name string, n int) {
		for i := range n {
			e := audit.Event{Kind: audit.Decision, Exchange: fmt.Sprintf("%s-%d", name, i), Path: strings.Repeat("/x", 50<<10)}
			if err := j.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill("old", 30)
	now = now.Add(time.Hour)
	record(t, j, audit.Event{Kind: audit.Redeemed, Exchange: "mine"})
	fill("new", 30) // pushes it out of the first window
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, audit.Options{Path: path, Now: func() time.Time { return now }})
	if got := j.Unfinished(); len(got) != 1 || got[0].Exchange != "mine" {
		t.Errorf("Unfinished = %v, want the one before the first window", got)
	}
	record(t, j, decision(1))
	if r := verify(t, path); !r.Intact() || r.Records != 63 {
		t.Errorf("Verify = %+v, want 63 records", r)
	}
}

func TestMarksAreNotEscapedForHTML(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	record(t, j, audit.Event{Kind: audit.Decision, Path: "/a&b<c>"})
	if !has(t, path, `"/a&b<c>"`) {
		t.Errorf("path was escaped: %s", read(t, path))
	}
}
