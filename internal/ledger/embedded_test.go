package ledger_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/ledger/storetest"
)

func TestEmbeddedConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) hold.Ledger { return openDir(t, t.TempDir()) })
}

func TestDocumentsOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	l := openDir(t, dir)
	rev := create(t, l, "hold.a", "one")
	gone := create(t, l, "hold.b", "two")
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.b", Rev: gone}); err != nil {
		t.Fatal(err)
	}
	closeNow(t, l)
	if _, err := l.Load(t.Context(), "hold.a"); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Load after Close = %v, want ErrClosed", err)
	}
	l = openDir(t, dir)
	if e, err := l.Load(t.Context(), "hold.a"); err != nil || string(e.Value) != "one" || e.Rev != rev {
		t.Errorf("Load = %q at %d, %v, want one at %d", e.Value, e.Rev, err, rev)
	}
	if e, err := l.Load(t.Context(), "hold.b"); err != nil || e.Value != nil {
		t.Errorf("removed document is %q, %v", e.Value, err)
	}
	if err := l.Ready(t.Context()); err != nil {
		t.Errorf("Ready = %v", err)
	}
}

// crashDir tells a second run of this test binary that it is the process to be killed.
const crashDir = "LEDGER_TEST_CRASH_DIR"

func TestWhatWasStoredSurvivesAKill(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		storeUntilKilled(t, dir)
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestWhatWasStoredSurvivesAKill$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for lines := bufio.NewScanner(out); stored < 50 && lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "stored %d", &n); err == nil {
			stored = n
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if stored < 50 {
		t.Fatalf("the process stored only %d documents", stored)
	}
	l := openDir(t, dir)
	for n := 1; n <= stored; n++ {
		if e, err := l.Load(t.Context(), fmt.Sprintf("hold.n%d", n)); err != nil || string(e.Value) != "spent" {
			t.Errorf("document %d of %d is %q, %v, want spent", n, stored, e.Value, err)
		}
	}
}

func storeUntilKilled(t *testing.T, dir string) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		key := fmt.Sprintf("hold.n%d", n)
		rev := create(t, l, key, "approved")
		if _, err := l.Store(t.Context(), hold.Entry{Key: key, Value: []byte("spent"), Rev: rev}); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(os.Stdout, "stored %d\n", n); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOneProcessPerFolder(t *testing.T) {
	dir := t.TempDir()
	l := openDir(t, dir)
	if _, err := ledger.Open(t.Context(), ledger.Options{Dir: dir}); !errors.Is(err, ledger.ErrLocked) {
		t.Errorf("second Open = %v, want ErrLocked", err)
	}
	create(t, l, "hold.a", "one") // the first is none the worse
	closeNow(t, l)
	openDir(t, dir)
}

func TestADamagedOrForeignFolderIsRefusedAndLeftAlone(t *testing.T) {
	says := map[string]string{
		"a folder of somebody else's": "without ledger.json", "another format": "it has format 2", "another bucket": `for bucket "other"`,
		"a torn format file": "ledger.json cannot be read", "an emptied key file": "ledger.key is too short", "no data": "is gone; see",
		"no description of a data": "is gone", "a changed description": "is gone",
	}
	for name, damage := range map[string]func(t *testing.T, dir string){
		"a folder of somebody else's": func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "ledger.json")) },
		"another format": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "ledger.json"), `{"format":2,"bucket":"countersign","made":true}`)
		},
		"another bucket": func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "ledger.json"), `{"format":1,"bucket":"other","made":true}`)
		},
		"a torn format file":       func(t *testing.T, dir string) { write(t, filepath.Join(dir, "ledger.json"), `{"for`) },
		"an emptied key file":      func(t *testing.T, dir string) { write(t, filepath.Join(dir, "ledger.key"), "\n") },
		"no data":                  func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "data")) },
		"no description of a data": func(t *testing.T, dir string) { remove(t, find(t, dir, "meta.inf")) },
		"a changed description":    func(t *testing.T, dir string) { write(t, find(t, dir, "meta.inf"), "{}") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openDir(t, dir)
			create(t, l, "hold.a", "one")
			closeNow(t, l)
			damage(t, dir)
			before := blocks(t, dir)
			_, err := ledger.Open(t.Context(), ledger.Options{Dir: dir})
			if !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("Open = %v, want ErrDamaged", err)
			}
			for _, part := range []string{says[name], "folder"} { // what is wrong, and what to do about it
				if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "()") {
					t.Errorf("Open = %v, want it to say %q", err, part)
				}
			}
			if after := blocks(t, dir); after != before {
				t.Errorf("Open changed the data: %s, were %s", after, before)
			}
		})
	}
}

// A document that the disk changed must not read as "there is none", and no earlier one may come back in its place.
func TestADamagedDocumentNeitherVanishesNorBringsBackAnEarlierOne(t *testing.T) {
	for name, crashed := range map[string]bool{"after a stop": false, "after a crash": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := openDir(t, dir)
			rev := create(t, l, "hold.a", "approved")
			if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("spent"), Rev: rev}); err != nil {
				t.Fatal(err)
			}
			create(t, l, "hold.b", "other")
			closeNow(t, l)
			block := find(t, dir, "1.blk")
			b, err := os.ReadFile(block)
			if err != nil {
				t.Fatal(err)
			}
			b[strings.LastIndex(string(b), "hold.a")+100] ^= 1
			write(t, block, string(b))
			if crashed { // the server has to read the damaged file to know what there is
				remove(t, find(t, dir, "index.db"))
			}
			l, err = ledger.Open(t.Context(), ledger.Options{Dir: dir})
			if err != nil {
				if !errors.Is(err, ledger.ErrDamaged) {
					t.Errorf("Open = %v, want ErrDamaged", err)
				}
				return
			}
			defer closeNow(t, l)
			if e, err := l.Load(t.Context(), "hold.a"); !errors.Is(err, ledger.ErrUnauthentic) {
				t.Errorf("Load = %q at %d, %v, want ErrUnauthentic", e.Value, e.Rev, err)
			}
			if e, err := l.Load(t.Context(), "hold.b"); err != nil || string(e.Value) != "other" {
				t.Errorf("Load of another = %q, %v, want other", e.Value, err)
			}
		})
	}
}

func TestAnEmbeddedLedgerMakesItsOwnKeyAndTakesALaterOne(t *testing.T) {
	dir := t.TempDir()
	l := openDir(t, dir)
	create(t, l, "hold.a", "one")
	closeNow(t, l)
	info, err := os.Stat(filepath.Join(dir, "ledger.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v, %v, want mode 0600", info, err)
	}
	for _, o := range []ledger.Options{{Dir: dir, Key: testKey}, {Dir: dir}} { // and back
		l, err = ledger.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := l.Load(t.Context(), "hold.a"); err != nil || string(e.Value) != "one" {
			t.Errorf("Load = %q, %v, want one", e.Value, err)
		}
		closeNow(t, l)
	}
}

// openDir opens an embedded ledger that is closed with the test.
func openDir(t *testing.T, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, l) })
	return l
}

func create(t *testing.T, l hold.Ledger, key, value string) uint64 {
	t.Helper()
	rev, err := l.Store(t.Context(), hold.Entry{Key: key, Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

// find returns the one file of that name under dir.
func find(t *testing.T, dir, name string) string {
	t.Helper()
	var found string
	for file := range files(t, dir) {
		if filepath.Base(file) == name {
			found = file
		}
	}
	if found == "" {
		t.Fatalf("no %s under %s", name, dir)
	}
	return found
}

// blocks sums up the files that hold documents.
func blocks(t *testing.T, dir string) string {
	t.Helper()
	var sum string
	for file, size := range files(t, dir) {
		if strings.HasSuffix(file, ".blk") {
			sum = fmt.Sprintf("%s %s:%d", sum, filepath.Base(file), size)
		}
	}
	return sum
}

func files(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out[name] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
