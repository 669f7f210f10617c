package audit_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
)

// sample is a journal of a few records; every call gets a copy.
var sample = sync.OnceValue(func() []byte {
	d := &buffer{}
	j, err := audit.Open(audit.Options{Path: "journal.jsonl", Open: func(string) (audit.File, error) { return d, nil }})
	if err != nil {
		panic(err)
	}
	defer func() { _ = j.Close() }() // the test looks elsewhere
	for n := range 4 {
		if err := j.Append(context.Background(), decision(n)); err != nil {
			panic(err)
		}
	}
	return bytes.Clone(d.b)
})

func TestVerifyFindsEveryKindOfTampering(t *testing.T) {
	whole := sample()
	split := func() [][]byte { return bytes.SplitAfter(bytes.Clone(whole), []byte("\n"))[:5] }
	for name, c := range map[string]struct {
		change func([][]byte) [][]byte
		line   int
	}{
		"edited":       {func(l [][]byte) [][]byte { l[2] = bytes.Replace(l[2], []byte("allow"), []byte("denyy"), 1); return l }, 3},
		"last edited":  {func(l [][]byte) [][]byte { l[4] = bytes.Replace(l[4], []byte("allow"), []byte("denyy"), 1); return l }, 5},
		"removed":      {func(l [][]byte) [][]byte { return slices.Delete(l, 2, 3) }, 3},
		"swapped":      {func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }, 3},
		"repeated":     {func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[2]) }, 4},
		"inserted":     {func(l [][]byte) [][]byte { return slices.Insert(l, 3, []byte("{\"seq\":3}\n")) }, 4},
		"blank line":   {func(l [][]byte) [][]byte { return slices.Insert(l, 3, []byte("\n")) }, 4},
		"head removed": {func(l [][]byte) [][]byte { return l[1:] }, 1},
		"hash in capitals": {func(l [][]byte) [][]byte {
			i := bytes.LastIndex(l[2], []byte(`"hash":"`)) + 8
			copy(l[2][i:], bytes.ToUpper(l[2][i:i+64]))
			return l
		}, 3},
		"another's end": {func(l [][]byte) [][]byte { return append(l, split()[0]) }, 6},
		"long line":     {func(l [][]byte) [][]byte { return append(l, bytes.Repeat([]byte("x"), 2<<20)) }, 6},
		"emptied":       {func([][]byte) [][]byte { return nil }, 1},
		"torn head":     {func(l [][]byte) [][]byte { return [][]byte{l[0][:50]} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := audit.Verify(t.Context(), bytes.NewReader(bytes.Join(c.change(split()), nil)))
			b, ok := errors.AsType[*audit.BrokenError](err)
			if !ok || !errors.Is(err, audit.ErrBroken) || r.Intact() {
				t.Fatalf("Verify = %+v, %v; want broken", r, err)
			}
			if b.Line != c.line || r.Broken != b {
				t.Errorf("broken at line %d (%v), want %d", b.Line, b, c.line)
			}
		})
	}
}

func TestVerifyTellsATornEndFromABreak(t *testing.T) {
	whole := sample()
	r, err := audit.Verify(t.Context(), bytes.NewReader(whole[:len(whole)-10]))
	if err != nil || r.Intact() || r.Records != 4 || r.Torn == 0 {
		t.Errorf("Verify = %+v, %v; want 4 records and a torn end", r, err)
	}
}

func TestVerifyReportsWhatTheJournalHolds(t *testing.T) {
	r, err := audit.Verify(t.Context(), bytes.NewReader(sample()))
	if err != nil || !r.Intact() {
		t.Fatalf("Verify = %+v, %v", r, err)
	}
	if r.Records != 5 || r.FirstSeq != 1 || r.LastSeq != 5 || len(r.Chain) != 32 || r.Prev != strings.Repeat("0", 64) || len(r.Head) != 64 {
		t.Errorf("Verify = %+v", r)
	}
	if r.First.IsZero() || r.Last.Before(r.First) || time.Since(r.Last) > time.Hour {
		t.Errorf("times %v to %v", r.First, r.Last)
	}
}

func TestVerifyStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := audit.Verify(ctx, bytes.NewReader(sample())); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v, want context.Canceled", err)
	}
}

func TestNoByteCanBeChangedUnseen(t *testing.T) {
	whole := sample()
	for i := range whole {
		for _, b := range []byte{whole[i] ^ 1, whole[i] ^ 0x20, whole[i] ^ 0x80, '\n', '"'} {
			if b != whole[i] {
				mustNotHold(t, i, whole, func(c []byte) []byte { c[i] = b; return c })
			}
		}
		mustNotHold(t, i, whole, func(c []byte) []byte { return slices.Delete(c, i, i+1) })
		mustNotHold(t, i, whole, func(c []byte) []byte { return slices.Insert(c, i, ' ') })
		mustNotHold(t, i, whole, func(c []byte) []byte { return slices.Insert(c, i, '\n') })
	}
}

func mustNotHold(t *testing.T, i int, whole []byte, change func([]byte) []byte) {
	t.Helper()
	changed := change(bytes.Clone(whole))
	if r, err := audit.Verify(t.Context(), bytes.NewReader(changed)); r.Intact() || err == nil && r.Torn == 0 {
		t.Fatalf("a change at byte %d went unseen: %+v, %v", i, r, err)
	}
}

func FuzzVerify(f *testing.F) {
	whole := sample()
	f.Add([]byte(nil), uint(0), byte(0))
	f.Add(whole, uint(100), byte('x'))
	f.Add([]byte("{\"seq\":1,\"prev\":\""+strings.Repeat("0", 64)+"\",\"kind\":\"journal.opened\"}\n"), uint(len(whole)-1), byte('\n'))
	f.Fuzz(func(t *testing.T, data []byte, at uint, b byte) {
		if r, err := audit.Verify(t.Context(), bytes.NewReader(data)); err != nil && !errors.Is(err, audit.ErrBroken) || err != nil && r.Intact() {
			t.Errorf("Verify = %+v, %v", r, err)
		}
		if err := audit.Show(t.Context(), bytes.NewReader(data), &bytes.Buffer{}, audit.ShowOptions{}); err != nil && !bytes.Contains(data, []byte("\n")) && len(data) < 1<<20 {
			t.Errorf("Show of no whole line = %v", err)
		}
		i := int(at % uint(len(whole)))
		changed := bytes.Clone(whole)
		changed[i] = b
		if r, err := audit.Verify(t.Context(), bytes.NewReader(changed)); b != whole[i] && (r.Intact() || err == nil && r.Torn == 0) {
			t.Errorf("byte %d changed to %q: %+v, %v", i, b, r, err)
		}
	})
}
