package notify_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"countersign/internal/notify"
)

func inboxOf(t *testing.T, dir string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "inbox.log"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAnEventThatWasTakenOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		taken := held(notify.HoldDenied)
		for range 2 { // told twice is one event
			if err := notify.Take(dir, taken); err != nil {
				t.Fatal(err)
			}
		}
		f, err := os.OpenFile(filepath.Join(dir, "inbox.log"), os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`{"id":"evt_torn","type":"hold.den`); err != nil { // the process died in the middle of it
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		v := newReceiver(always(204))
		b := open(t, notify.WithTransport(notify.Options{Dir: dir, Sinks: []notify.Sink{webhook("desk", "https://desk.example/in")}}, v))
		synctest.Wait()
		if got := v.requests(); len(got) != 1 || typeOf(t, got[0]) != string(notify.HoldDenied) {
			t.Errorf("%d events were sent, want the one that was taken", len(got))
		}
		shut(t, b)
		if left := inboxOf(t, dir); len(left) != 0 {
			t.Errorf("the inbox still has %q", left)
		}
	})
}

func TestTheInboxIsEmptyOnceTheSpoolHasEverything(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, down(dir, notify.Options{}))
		for _, kind := range []notify.Type{notify.HoldStarted, notify.HoldDenied, notify.HoldSpent} {
			b.Notify(held(kind))
		}
		shut(t, b)
		if left := inboxOf(t, dir); len(left) != 0 {
			t.Errorf("the inbox still has %q", left)
		}
		if n := len(spooled(t, dir)); n != 3 {
			t.Errorf("%d events in the spool, want 3", n)
		}
	})
}

func TestACodeIsNotInTheInbox(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := open(t, down(dir, notify.Options{}))
		e := held(notify.HoldPrompted)
		e.Code = "739204"
		b.Notify(e)
		if bytes.Contains(inboxOf(t, dir), []byte("739204")) {
			t.Error("the code is on disk")
		}
		shut(t, b)
	})
}
