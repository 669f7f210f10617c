package audit_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
)

func TestACopyCutAnywhereOpensAndVerifies(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	for n := range 3 {
		record(t, j, decision(n))
	}
	_ = j.Close() // only the file counts
	whole := read(t, path)
	dir, d := t.TempDir(), newDisk()
	d.lazy = true
	for n := range len(whole) + 1 {
		cut := filepath.Join(dir, "cut.jsonl")
		if err := os.WriteFile(cut, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := audit.Open(audit.Options{Path: cut, Open: d.open})
		if err != nil {
			t.Fatalf("after %d bytes: Open: %v", n, err)
		}
		record(t, j, decision(9))
		if err := j.Close(); err != nil {
			t.Fatalf("after %d bytes: Close: %v", n, err)
		}
		if r := verify(t, cut); !r.Intact() {
			t.Fatalf("after %d bytes: %+v", n, r)
		}
		lines := bytes.Count(whole[:n], []byte("\n"))
		torn := n - bytes.LastIndexByte(whole[:n], '\n') - 1
		if got, want := has(t, cut, audit.Recovered), lines > 0 && torn > 0; got != want {
			t.Fatalf("after %d bytes: recovered event = %v, want %v", n, got, want)
		}
		if lines > 0 && !bytes.HasPrefix(read(t, cut), whole[:n-torn]) {
			t.Fatalf("after %d bytes: whole records were lost", n)
		}
	}
}

func TestBlocksThatNeverReachedTheDiskAreATornEnd(t *testing.T) {
	for name, hurt := range map[string]func([]byte) []byte{
		"zeros after the end":      func(b []byte) []byte { return append(b, make([]byte, 5000)...) },
		"megabytes of zeros":       func(b []byte) []byte { return append(b, make([]byte, 9<<20)...) },
		"zeros in the last record": func(b []byte) []byte { clear(b[len(b)-100 : len(b)-50]); return b },
		"a file of zeros":          func(b []byte) []byte { clear(b); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := pathIn(t)
			j := open(t, audit.Options{Path: path})
			record(t, j, decision(1))
			record(t, j, decision(2))
			_ = j.Close() // only the file counts
			if err := os.WriteFile(path, hurt(read(t, path)), 0o600); err != nil {
				t.Fatal(err)
			}
			j = open(t, audit.Options{Path: path})
			record(t, j, decision(3))
			if r := verify(t, path); !r.Intact() {
				t.Errorf("Verify = %+v", r)
			}
		})
	}
}

func TestCallersShareASync(t *testing.T) {
	d := newDisk()
	j := open(t, audit.Options{Path: pathIn(t), Open: d.open})
	d.set(func(d *disk) { d.syncs, d.gate, d.entered = 0, make(chan struct{}), make(chan struct{}, 100) })
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { record(t, j, decision(0)) })
	<-d.entered // the first one syncs by itself; the others come while the disk is busy
	written := make(chan struct{}, 50)
	for n := range 50 {
		wg.Go(func() {
			written <- struct{}{}
			record(t, j, decision(n+1))
		})
	}
	for range 50 {
		<-written
	}
	close(d.gate)
	wg.Wait()
	if got := d.count(); got >= 25 {
		t.Errorf("51 records took %d syncs", got)
	}
}

func TestRecordReturnsOnlyAfterTheSync(t *testing.T) {
	d := newDisk()
	j := open(t, audit.Options{Path: pathIn(t), Open: d.open})
	gate := make(chan struct{})
	d.set(func(d *disk) { d.gate, d.entered = gate, make(chan struct{}, 9) })
	done := make(chan error, 1)
	go func() { done <- j.Record(t.Context(), decision(1)) }()
	<-d.entered
	if err := j.Append(t.Context(), decision(2)); err != nil {
		t.Errorf("Append while the disk is busy: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("Record returned %v before the sync", err)
	default:
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAnAppendedRecordIsSyncedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		j := open(t, audit.Options{Path: pathIn(t), Open: d.open})
		defer func() { _ = j.Close() }() // the test looks elsewhere
		before := d.count()
		if err := j.Append(t.Context(), decision(1)); err != nil {
			t.Fatal(err)
		}
		if got := d.count(); got != before {
			t.Errorf("Append synced %d times by itself", got-before)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if got := d.count(); got != before+1 {
			t.Errorf("syncs after a second = %d, want 1", got-before)
		}
	})
}

func TestAFullDiskRefusesAndHealsWithoutARestart(t *testing.T) {
	path, d := pathIn(t), newDisk()
	j := open(t, audit.Options{Path: path, Open: d.open})
	record(t, j, decision(1))
	if err := j.Append(t.Context(), decision(2)); err != nil {
		t.Fatal(err)
	}
	d.set(func(d *disk) { d.room = 40 })
	for n := range 3 {
		for name, write := range map[string]func() error{
			"Record": func() error { return j.Record(t.Context(), decision(100+n)) },
			"Append": func() error { return j.Append(t.Context(), decision(200+n)) },
		} {
			if err := write(); !errors.Is(err, audit.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("%s on a full disk = %v, want ErrUnavailable and ENOSPC", name, err)
			}
		}
	}
	if err := j.Healthy(); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Healthy = %v, want ErrUnavailable", err)
	}
	d.set(func(d *disk) { d.room = -1 })
	record(t, j, decision(3))
	if err := j.Healthy(); err != nil {
		t.Errorf("Healthy after room came back = %v", err)
	}
	if r := verify(t, path); !r.Intact() {
		t.Errorf("Verify = %+v", r)
	}
	for text, want := range map[string]bool{`"ex-1"`: true, `"ex-2"`: true, `"ex-3"`: true, `"ex-10`: false, `"ex-20`: false, audit.Recovered: true} {
		if got := has(t, path, text); got != want {
			t.Errorf("journal has %s: %v, want %v", text, got, want)
		}
	}
}

func TestAHealedDiskIsNoticedWithoutTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		j := open(t, audit.Options{Path: pathIn(t), Open: d.open})
		defer func() { _ = j.Close() }() // the test looks elsewhere
		d.set(func(d *disk) { d.room = 0 })
		if err := j.Record(t.Context(), decision(1)); err == nil {
			t.Fatal("Record on a full disk succeeded")
		}
		<-time.After(5 * time.Second)
		if err := j.Healthy(); err == nil {
			t.Fatal("Healthy on a full disk")
		}
		d.set(func(d *disk) { d.room = -1 })
		<-time.After(2 * time.Second)
		synctest.Wait()
		if err := j.Healthy(); err != nil {
			t.Errorf("Healthy = %v, two seconds after room came back", err)
		}
	})
}

func TestAFailedSyncLosesNothingThatWasAccepted(t *testing.T) {
	path, d := pathIn(t), newDisk()
	j := open(t, audit.Options{Path: path, Open: d.open})
	if err := j.Append(t.Context(), decision(1)); err != nil {
		t.Fatal(err)
	}
	d.set(func(d *disk) { d.syncErr = syscall.EIO })
	for range 2 {
		if err := j.Record(t.Context(), decision(666)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Record = %v, want EIO", err)
		}
	}
	d.set(func(d *disk) { d.syncErr, d.truncErr = nil, syscall.EROFS })
	if err := j.Record(t.Context(), decision(666)); !errors.Is(err, syscall.EROFS) {
		t.Fatalf("Record = %v, want EROFS", err)
	}
	d.set(func(d *disk) { d.truncErr = nil })
	record(t, j, decision(2))
	if r := verify(t, path); !r.Intact() || has(t, path, "ex-666") || !has(t, path, `"ex-1"`) || !has(t, path, `"ex-2"`) {
		t.Errorf("Verify = %+v of\n%s", r, read(t, path))
	}
}

func TestASlowDiskIsAnErrorAndNotAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk()
		j := open(t, audit.Options{Path: pathIn(t), Open: d.open})
		gate := make(chan struct{})
		d.set(func(d *disk) { d.gate, d.entered = gate, make(chan struct{}, 9) })
		start := time.Now()
		if err := j.Record(t.Context(), decision(1)); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("Record = %v, want ErrUnavailable", err)
		}
		if got := time.Since(start); got > 11*time.Second {
			t.Errorf("Record took %v", got)
		}
		<-time.After(time.Second)
		if err := j.Healthy(); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("Healthy = %v, want ErrUnavailable", err)
		}
		d.set(func(d *disk) { d.gate = nil })
		close(gate)
		record(t, j, decision(2))
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAFileMovedAwayIsFollowedByAnother(t *testing.T) {
	path := pathIn(t)
	old := path + ".1"
	j := open(t, audit.Options{Path: path})
	record(t, j, decision(1))
	if err := os.Rename(path, old); err != nil {
		t.Fatal(err)
	}
	record(t, j, decision(2)) // wherever it goes, it is on disk
	eventually(t, "a new file", func() bool { _, err := os.Stat(path); return err == nil })
	record(t, j, decision(3))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	first, second := verify(t, old), verify(t, path)
	if !first.Intact() || !second.Intact() || second.Prev != first.Head || second.FirstSeq != first.LastSeq+1 || second.Chain != first.Chain {
		t.Errorf("second file %+v does not continue the first %+v", second, first)
	}
	both := append(read(t, old), read(t, path)...)
	r, err := audit.Verify(t.Context(), bytes.NewReader(both))
	if err != nil || !r.Intact() {
		t.Errorf("Verify of both in a row = %+v, %v", r, err)
	}
	for _, ex := range []string{`"ex-1"`, `"ex-2"`, `"ex-3"`} {
		if got := strings.Count(string(both), ex); got != 1 {
			t.Errorf("%s is there %d times", ex, got)
		}
	}
}

func TestADeletedFileIsBegunAnew(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	record(t, j, decision(1))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	record(t, j, decision(2))
	if r := verify(t, path); !r.Intact() || !has(t, path, `"ex-2"`) || r.FirstSeq != 3 {
		t.Errorf("Verify = %+v, want the record on disk under its name", r)
	}
}

func TestAFileChangedByOthersIsSetAside(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"emptied": func(p string) error { return os.Truncate(p, 0) },
		"cut":     func(p string) error { return os.Truncate(p, 100) },
		"end overwritten": func(p string) error {
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			info, err := f.Stat()
			if err != nil {
				return errors.Join(err, f.Close())
			}
			_, err = f.WriteAt([]byte("xxxx"), info.Size()-5)
			return errors.Join(err, f.Close(), os.Truncate(p, info.Size()-1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := pathIn(t)
			j := open(t, audit.Options{Path: path})
			record(t, j, decision(1))
			if err := change(path); err != nil {
				t.Fatal(err)
			}
			record(t, j, decision(2))
			if r := verify(t, path); !r.Intact() || !has(t, path, `"ex-2"`) || !has(t, path, "changed by somebody else") {
				t.Errorf("Verify = %+v of %s", r, read(t, path))
			}
			if aside, err := filepath.Glob(path + ".altered-*"); err != nil || len(aside) != 1 {
				t.Errorf("set aside: %v, %v", aside, err)
			}
		})
	}
}

func TestAChangedFileThatIsElsewhereLeavesItsSuccessorAlone(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	record(t, j, decision(1))
	if err := errors.Join(os.Truncate(path, 100), os.Rename(path, path+".1"), os.WriteFile(path, []byte("mine\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := j.Record(t.Context(), decision(2)); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Record = %v, want ErrUnavailable", err)
	}
	if got := string(read(t, path)); got != "mine\n" {
		t.Errorf("the other file is now %q", got)
	}
}

func TestAnotherFileInItsPlaceIsNotWrittenTo(t *testing.T) {
	path := pathIn(t)
	j := open(t, audit.Options{Path: path})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	record(t, j, decision(1)) // still goes to the file that was moved
	if err := j.Record(t.Context(), decision(2)); !errors.Is(err, audit.ErrUnavailable) {
		t.Errorf("Record = %v, want ErrUnavailable", err)
	}
	if got := string(read(t, path)); got != "mine\n" {
		t.Errorf("the other file is now %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	record(t, j, decision(3))
	if r := verify(t, path); !r.Intact() {
		t.Errorf("Verify = %+v", r)
	}
}
