package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/notify"
)

func typeOf(t *testing.T, q request) string {
	t.Helper()
	var e struct{ Type string }
	if err := json.Unmarshal(q.Body, &e); err != nil {
		t.Fatal(err)
	}
	return e.Type
}

func contains(s string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s, p) })
}

func down(dir string, o notify.Options) notify.Options {
	o.Dir = dir
	o.Sinks = append(o.Sinks, webhook("desk", "https://desk.example/in"))
	return notify.WithTransport(o, newReceiver(always(0)))
}

func TestACodeIsNeverOnDiskAndGoesOnlyToSinksThatAskForIt(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		asks := webhook("asks", "https://desk.example/asks")
		asks.Codes = true
		chat := notify.Sink{Name: "chat", Type: "slack", URL: "https://chat.example/chat"}
		var log bytes.Buffer
		v := newReceiver(func(n int, _ request) (int, http.Header) {
			text, err := os.ReadDir(dir)
			for _, entry := range text {
				record, readErr := os.ReadFile(filepath.Join(dir, entry.Name()))
				if readErr == nil && bytes.Contains(record, []byte("739204")) {
					err = fmt.Errorf("the code is in %s", entry.Name())
				}
			}
			if err != nil {
				t.Error(err)
			}
			if n < 4 {
				return http.StatusBadGateway, nil // so that it is tried again
			}
			return http.StatusOK, nil
		})
		e := held(notify.HoldPrompted)
		e.Code, e.ExpiresAt = "739204", time.Now().Add(5*time.Minute)
		b := open(t, notify.WithTransport(notify.Options{
			Dir: dir, Sinks: []notify.Sink{asks, webhook("plain", "https://desk.example/plain"), chat},
			Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}, v))
		b.Notify(e)
		pass(time.Minute)
		saw := map[string]bool{}
		for _, q := range v.requests() {
			saw[q.Path] = bytes.Contains(q.Body, []byte("739204"))
		}
		if len(saw) != 3 || !saw["/asks"] || saw["/plain"] || saw["/chat"] {
			t.Errorf("sinks that saw the code: %v", saw)
		}
		shut(t, b)
		if strings.Contains(log.String(), "739204") {
			t.Error("the code is in the log")
		}
	})
}

func TestWhatATornSpoolHoldsIsSetAsideAndTheRestDelivered(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, down(dir, notify.Options{}))
		for i := range 3 {
			if !b.Escalate(t.Context(), escalation(fmt.Sprintf("h%d", i), "fraud")) {
				t.Fatal("Escalate = false")
			}
		}
		shut(t, b)
		files := spooled(t, dir)
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{
			files[0]:                            text[:len(text)/2],
			files[1]:                            nil,
			filepath.Join(dir, "x.json.tmp"):    text,
			filepath.Join(dir, "a.json"):        []byte(`{"v":2,"sink":"desk"}`),
			filepath.Join(dir, "b.json"):        bytes.Repeat([]byte(" "), 1<<20),
			filepath.Join(dir, "unrelated.txt"): []byte("keep"),
		} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		v, _ := script(t, notify.Options{Dir: dir}, held(notify.HoldDenied), time.Minute, nil)
		var got []string
		for _, q := range v.requests() {
			got = append(got, typeOf(t, q))
		}
		if !slices.Equal(got, []string{"escalation.requested", "hold.denied"}) {
			t.Errorf("delivered %v", got)
		}
		if n := len(spooled(t, filepath.Join(dir, "dead"))); n != 4 {
			t.Errorf("%d files set aside, want 4", n)
		}
		if _, err := os.Stat(filepath.Join(dir, "x.json.tmp")); err == nil {
			t.Error("a half-written file is still there")
		}
		if _, err := os.Stat(filepath.Join(dir, "unrelated.txt")); err != nil {
			t.Error("a file that is not ours is gone")
		}
	})
}

func TestEventsOfASinkThatIsNoLongerConfiguredAreGivenUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, down(dir, notify.Options{}))
		if !b.Escalate(t.Context(), escalation("h1", "fraud")) {
			t.Fatal("Escalate = false")
		}
		shut(t, b)
		var log bytes.Buffer
		v := newReceiver(nil)
		open(t, notify.WithTransport(notify.Options{
			Dir: dir, Sinks: []notify.Sink{webhook("other", "https://other.example/in")}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}, v))
		pass(time.Minute)
		if len(v.requests()) != 0 || len(spooled(t, dir)) != 0 || !contains(log.String(), "level=ERROR", "sink=desk", "no such sink") {
			t.Errorf("sent %d, on disk %d, log %s", len(v.requests()), len(spooled(t, dir)), log.String())
		}
	})
}

func TestAFullSpoolDropsTheOldestOrdinaryEventsAndNoEscalation(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		dropped := make(chan notify.Metric, 100)
		b := open(t, down(dir, notify.Options{MaxEvents: 4, Observe: watch(dropped, notify.Dropped)}))
		for i := range 3 {
			e := held(notify.HoldDenied)
			e.Hold = fmt.Sprintf("n%d", i)
			b.Notify(e)
			pass(time.Second)
		}
		for i := range 4 {
			if !b.Escalate(t.Context(), escalation(fmt.Sprintf("e%d", i), "fraud")) {
				t.Errorf("escalation %d was refused while ordinary events had room", i)
			}
		}
		if n := len(dropped); n != 3 {
			t.Errorf("%d events dropped, want the 3 ordinary ones", n)
		}
		if b.Escalate(t.Context(), escalation("e4", "fraud")) {
			t.Error("Escalate = true, though there is no room for it on disk")
		}
		b.Notify(held(notify.HoldDenied))
		synctest.Wait()
		for _, name := range spooled(t, dir) {
			if !strings.Contains(name, "-e-") {
				t.Errorf("%s is on disk in place of an escalation", filepath.Base(name))
			}
		}
		if n := len(spooled(t, dir)); n != 4 {
			t.Errorf("%d events on disk, want 4", n)
		}
	})
}

func TestTheSizeOfTheSpoolIsBoundedToo(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, down(dir, notify.Options{MaxBytes: 8 << 10}))
		for i := range 40 {
			e := held(notify.HoldDenied)
			e.Hold = fmt.Sprintf("n%d", i)
			b.Notify(e)
			synctest.Wait()
		}
		var size int64
		for _, name := range spooled(t, dir) {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, want 0600", info.Mode().Perm())
			}
			size += info.Size()
		}
		if size == 0 || size > 8<<10 {
			t.Errorf("the spool holds %d bytes", size)
		}
	})
}

func TestEscalateIsTrueOnlyForWhatIsOnDisk(t *testing.T) {
	only := webhook("outcomes", "https://desk.example/in")
	only.Events = []string{"hold.*"}
	note := notify.Sink{Name: "note", Type: "webhook", Template: "zendesk", URL: "https://acme.example/tickets/{ticket}.json"}
	employee := note
	employee.Name, employee.Public = "employee", true
	desk := webhook("desk", "https://desk.example/in")
	for name, c := range map[string]struct {
		left   bool // the caller gave up before it asked
		sinks  []notify.Sink
		ticket string
		broken bool
		want   bool
	}{
		"to a sink that takes escalations":        {false, []notify.Sink{desk}, "1042", false, true},
		"to one of several":                       {false, []notify.Sink{only, employee, note}, "1042", false, true},
		"with no sink":                            {false, nil, "1042", false, false},
		"with no sink that takes them":            {false, []notify.Sink{only}, "1042", false, false},
		"to the employee only":                    {false, []notify.Sink{employee}, "1042", false, false},
		"on a ticket, without one":                {false, []notify.Sink{note}, "", false, false},
		"on a ticket whose id is a path":          {false, []notify.Sink{note}, "../users/1", false, false},
		"on a ticket that the system cannot have": {false, []notify.Sink{note}, "INC-1", false, false},
		"for a caller that has left":              {true, []notify.Sink{desk}, "1042", false, false},
		"with a disk that cannot be written":      {false, []notify.Sink{desk}, "1042", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			b := open(t, notify.WithTransport(notify.Options{Dir: dir, Sinks: c.sinks}, newReceiver(always(0))))
			if c.broken {
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.left {
				cancel()
			}
			e := escalation("h1", "not_enrolled")
			e.Ticket = c.ticket
			if got := b.Escalate(ctx, e); got != c.want {
				t.Errorf("Escalate = %v, want %v", got, c.want)
			}
			if n := len(spooled(t, dir)); (n > 0) != c.want {
				t.Errorf("%d events on disk", n)
			}
		})
	}
}

func TestAnEventThatIsToldTwiceWaitsOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, down(dir, notify.Options{}))
		for range 2 {
			if !b.Escalate(t.Context(), escalation("h1", "fraud")) {
				t.Error("Escalate = false")
			}
			b.Notify(held(notify.HoldFraud))
		}
		synctest.Wait()
		if n := len(spooled(t, dir)); n != 2 {
			t.Errorf("%d events wait, want an escalation and an outcome", n)
		}
	})
}

func TestCloseDeliversWhatIsDueAndKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		v := newReceiver(func(_ int, q request) (int, http.Header) {
			if q.Path == "/stuck" {
				<-q.Left
			}
			pass(10 * time.Millisecond)
			return http.StatusOK, nil
		})
		stuck := webhook("stuck", "https://stuck.example/stuck")
		b := open(t, notify.WithTransport(notify.Options{Dir: dir, Sinks: []notify.Sink{webhook("desk", "https://desk.example/in"), stuck}}, v))
		for i := range 20 {
			e := held(notify.HoldDenied)
			e.Hold = fmt.Sprintf("n%d", i)
			b.Notify(e)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, q := range v.requests() {
			if q.Path == "/in" {
				n++
			}
		}
		if n != 20 || len(spooled(t, dir)) != 20 {
			t.Errorf("delivered %d to the sink that takes them, kept %d for the one that hangs", n, len(spooled(t, dir)))
		}
		b.Notify(held(notify.HoldDenied))
		if b.Escalate(t.Context(), escalation("h1", "fraud")) {
			t.Error("Escalate = true after Close")
		}
	})
}

func TestASpoolBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, notify.Options{Dir: dir})
	if _, err := notify.Open(notify.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second Open = %v", err)
	}
}

func TestADeadEventThatIsPutBackIsSentAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		refuses, b := script(t, notify.Options{Dir: dir}, escalation("h1", "fraud"), time.Minute, always(http.StatusUnauthorized))
		shut(t, b)
		dead := spooled(t, filepath.Join(dir, "dead"))
		if len(dead) != 1 {
			t.Fatalf("%d dead events, want 1", len(dead))
		}
		if err := os.Rename(dead[0], filepath.Join(dir, filepath.Base(dead[0]))); err != nil {
			t.Fatal(err)
		}
		v := newReceiver(nil)
		open(t, notify.WithTransport(notify.Options{Dir: dir, Sinks: []notify.Sink{webhook("desk", "https://desk.example/in")}}, v))
		q := v.next(t)
		if got, want := q.Header.Get("webhook-id"), refuses.requests()[0].Header.Get("webhook-id"); got != want {
			t.Errorf("sent as %q, at first %q", got, want)
		}
	})
}
