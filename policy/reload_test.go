package policy_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/policy"
)

const (
	denyAll   = "package countersign.rules\ndeny contains {\"code\": \"frozen\", \"text\": \"Frozen.\"} if true"
	stepUpAll = "package countersign.rules\nstep_up contains {\"code\": \"careful\", \"text\": \"Careful.\"} if true"
	broken    = "package countersign.rules\ndeny contains {"
)

func effect(t *testing.T, e *policy.Engine, want policy.Effect) {
	t.Helper()
	if d := decide(t, e, read()); d.Effect != want {
		t.Errorf("Decide = %v, want %v", d.Effect, want)
	}
}

func TestReloadPutsTheNewPolicyIntoForce(t *testing.T) {
	file := write(t, t.TempDir(), "a.rego", denyAll)
	e := start(t, options(file))
	effect(t, e, policy.Deny)
	before := e.Revision()
	write(t, filepath.Dir(file), "a.rego", stepUpAll)
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	effect(t, e, policy.StepUp)
	if e.Revision() == before {
		t.Error("the revision did not change")
	}
}

func TestReloadKeepsTheLastGoodPolicy(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.rego", denyAll)
	e := start(t, options(dir))
	good := e.Revision()
	for name, spoil := range map[string]func(){
		"a slip of the pen":    func() { write(t, dir, "a.rego", broken) },
		"a forbidden package":  func() { write(t, dir, "a.rego", "package countersign\nordinary := true") },
		"a file that is gone":  func() { remove(t, filepath.Join(dir, "a.rego")) },
		"data that is no data": func() { write(t, dir, "b.json", "{") },
	} {
		spoil()
		if err := e.Reload(t.Context()); err == nil {
			t.Errorf("Reload with %s succeeded", name)
		}
		if e.Ready() == nil || e.Revision() != good {
			t.Errorf("with %s: Ready = %v, Revision = %s, want an error and %s", name, e.Ready(), e.Revision(), good)
		}
		effect(t, e, policy.Deny)
		_ = os.Remove(filepath.Join(dir, "b.json")) // only one of them wrote it
		write(t, dir, "a.rego", denyAll)
		if err := e.Reload(t.Context()); err != nil || e.Ready() != nil {
			t.Errorf("Reload after %s = %v", name, err)
		}
	}
}

func TestAnEngineRecoversFromABrokenStart(t *testing.T) {
	file := write(t, t.TempDir(), "a.rego", broken)
	var told []error
	o := options(file)
	o.Loaded = func(revision string, err error) {
		if (revision == "") != (err != nil) {
			t.Errorf("Loaded(%q, %v)", revision, err)
		}
		told = append(told, err)
	}
	e, err := policy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	denied(t, e, read(), policy.ErrUnavailable)
	_ = e.Reload(t.Context()) // the same failure, not told again
	write(t, filepath.Dir(file), "a.rego", denyAll)
	if err := e.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = e.Reload(t.Context()) // nothing new
	effect(t, e, policy.Deny)
	if len(told) != 2 || told[0] == nil || told[1] != nil {
		t.Errorf("Loaded was told %v, want one failure and one success", told)
	}
}

func TestACancelledReloadSaysNothingAboutThePolicy(t *testing.T) {
	e := start(t, options(write(t, t.TempDir(), "a.rego", denyAll)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Reload(ctx); err == nil {
		t.Error("Reload = nil")
	}
	if e.Ready() != nil {
		t.Errorf("Ready = %v", e.Ready())
	}
}

func TestDecisionsGoOnDuringReloads(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.rego", denyAll)
	e := start(t, options(dir))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if d, err := e.Decide(t.Context(), read()); err != nil || d.Effect == policy.Allow {
					t.Errorf("Decide = %v, %v", d.Effect, err)
					return
				}
			}
		})
	}
	for i := range 4 {
		write(t, dir, "a.rego", []string{stepUpAll, broken, denyAll}[i%3])
		_ = e.Reload(t.Context()) // every third is broken
	}
	close(stop)
	wg.Wait()
}

// watched starts an engine that watches path, and returns a channel of what it loads.
func watched(t *testing.T, path string) (*policy.Engine, <-chan error) {
	t.Helper()
	loads := make(chan error, 100)
	o := options(path)
	o.Loaded = func(_ string, err error) { loads <- err }
	e := start(t, o)
	if err := <-loads; err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Watch(t.Context()); err != nil {
			t.Errorf("Watch = %v", err)
		}
	})
	t.Cleanup(wg.Wait) // the test's context ends before
	return e, loads
}

func next(t *testing.T, loads <-chan error, good bool) {
	t.Helper()
	select {
	case err := <-loads:
		if (err == nil) != good {
			t.Fatalf("Loaded with %v, want good: %v", err, good)
		}
	case <-time.After(time.Minute):
		t.Fatal("the change was not noticed within a minute")
	}
}

func TestWatchNoticesAFileReplacedByRename(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "a.rego", denyAll)
	for name, path := range map[string]string{"its directory": dir, "the file": file} {
		t.Run("watching "+name, func(t *testing.T) {
			e, loads := watched(t, path)
			for _, c := range []struct {
				text string
				good bool
				want policy.Effect
			}{{stepUpAll, true, policy.StepUp}, {broken, false, policy.StepUp}, {denyAll, true, policy.Deny}} {
				rename(t, write(t, t.TempDir(), "new", c.text), file)
				next(t, loads, c.good)
				effect(t, e, c.want)
				if (e.Ready() == nil) != c.good {
					t.Errorf("Ready = %v, want good: %v", e.Ready(), c.good)
				}
			}
		})
	}
}

// A ConfigMap volume: files are links into ..data, and that is a link which is swapped.
func TestWatchNoticesAKubernetesVolumeSwap(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "..v1/a.rego", denyAll)
	write(t, dir, "..v2/a.rego", stepUpAll)
	link(t, "..v1", filepath.Join(dir, "..data"))
	link(t, filepath.Join("..data", "a.rego"), filepath.Join(dir, "a.rego"))
	e, loads := watched(t, dir)
	effect(t, e, policy.Deny)
	link(t, "..v2", filepath.Join(dir, "..data_tmp"))
	rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
	next(t, loads, true)
	effect(t, e, policy.StepUp)
}

func TestWatchNoticesAFileInANewDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.rego", stepUpAll)
	e, loads := watched(t, dir)
	rename(t, filepath.Dir(write(t, t.TempDir(), "more/b.rego", denyAll)), filepath.Join(dir, "more"))
	next(t, loads, true)
	effect(t, e, policy.Deny)
	write(t, dir, "more/b.rego", broken)
	next(t, loads, false)
	effect(t, e, policy.Deny)
}

func TestPollingNoticesAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := write(t, dir, "a.rego", denyAll)
		o := options(file)
		o.Poll = 10 * time.Second
		e := start(t, o)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = e.Watch(ctx) })
		defer wg.Wait()
		defer cancel()
		sleep(9 * time.Second)
		write(t, dir, "a.rego", stepUpAll)
		effect(t, e, policy.Deny)
		sleep(2 * time.Second)
		effect(t, e, policy.StepUp)
		remove(t, file)
		sleep(10 * time.Second)
		effect(t, e, policy.StepUp)
		if e.Ready() == nil {
			t.Error("Ready = nil though the file is gone")
		}
	})
}

func TestWatchWithoutPathsEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := engine(t, "").Watch(ctx); err != nil {
		t.Errorf("Watch = %v", err)
	}
}

// sleep passes time in a bubble, and waits for what then happens.
func sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}
