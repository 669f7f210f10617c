package notify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/notify"
)

func TestTheWordsForEveryEventAreThoseThatWereReviewed(t *testing.T) {
	sink := webhook("", "/in")
	sink.Body = `{"Title": {{.Title}}, "Advice": {{.Advice}}, "Employee": {{.EmployeeText}}}`
	var events []notify.Event
	for _, typ := range notify.Types() {
		if typ != notify.EscalationRequested {
			events = append(events, held(typ))
		}
	}
	for _, state := range []string{"not_enrolled", "locked_out", "fraud", "unavailable", "timed_out"} {
		events = append(events, escalation("h1", state))
	}
	events = append(events, notify.Event{Type: notify.EscalationRequested, State: "fraud"}) // nothing is known
	var got strings.Builder
	for _, e := range events {
		var words struct{ Title, Advice, Employee string }
		if err := json.Unmarshal([]byte(sentTo(t, sink, e)), &words); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%s %s\n  title: %s\n  advice: %s\n  employee: %s\n\n", e.Type, e.State, words.Title, words.Advice, words.Employee)
	}
	golden(t, "words", got.String())
}

func TestAPageAndACodeAreShownWherePeopleRead(t *testing.T) {
	e := held(notify.HoldPrompted)
	e.Code, e.ExpiresAt, e.URL = "739204", time.Now().Add(time.Hour), "https://verify.example/p/6f1c?x=1&y=<|>"
	for name, want := range map[string]string{
		"slack": `"<https://verify.example/p/6f1c?x=1&amp;y=%3C%7C%3E|Page where the requester answers>"`,
		"teams": `"type":"Action.OpenUrl"`,
	} {
		body := sentTo(t, notify.Sink{Type: name, URL: "/x", Codes: true}, e)
		if !strings.Contains(body, want) || !strings.Contains(body, "739204") {
			t.Errorf("%s got %s, want %s and the code", name, body, want)
		}
		if body = sentTo(t, notify.Sink{Type: name, URL: "/x"}, e); strings.Contains(body, "739204") {
			t.Errorf("%s got the code without asking for it", name)
		}
	}
	for _, bad := range []string{"javascript:alert(1)", "http://evil.example/", "https://u:p@verify.example/", "verify.example"} {
		e.URL = bad
		if body := sentTo(t, notify.Sink{Type: "teams", URL: "/x"}, e); strings.Contains(body, "OpenUrl") {
			t.Errorf("a button leads to %s", bad)
		}
	}
}

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestNoCredentialIsLoggedOrReported(t *testing.T) {
	nobody := serveMux(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })) // hangs up
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { // a service that repeats what it was sent
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(r.Header.Get("Authorization") + r.FormValue("client_secret")))
	})
	echo := serveMux(t, mux)
	sinks := []notify.Sink{
		webhook("down", nobody+"/hunter2"), webhook("echo", echo+"/hunter2"), webhook("oauth", echo+"/hunter2"),
		{Name: "chat", Type: "slack", URL: notify.Secret(nobody + "/services/hunter2")},
	}
	sinks[1].Bearer = "hunter2"
	sinks[2].OAuth = notify.OAuth{TokenURL: echo + "/token", ClientID: "id", ClientSecret: "hunter2"}
	var log buffer
	seen := make(chan notify.Metric, 100)
	b := open(t, notify.Options{
		Sinks: sinks, Observe: watch(seen, notify.Retried, notify.Dead), WarnAfter: 1,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	b.Notify(held(notify.HoldDenied))
	for tried := map[string]bool{}; len(tried) < len(sinks); {
		tried[await(t, seen).Sink] = true
	}
	all := log.String() + strings.Join(b.Ready(), "\n")
	if strings.Contains(all, "hunter2") || !contains(all, "sink down has failed", "sink chat has failed", "status 401", "no access token: status 401") {
		t.Errorf("said: %s", all)
	}
}

func TestWhatIsSetAsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 1005 {
		if err := os.WriteFile(filepath.Join(dead, fmt.Sprintf("%020d-n-x.json", i)), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		script(t, notify.Options{Dir: dir}, held(notify.HoldDenied), time.Minute, always(http.StatusBadRequest))
		names := spooled(t, dead)
		if len(names) != 1000 || strings.HasSuffix(names[len(names)-1], "-x.json") {
			t.Errorf("%d dead events, want 1000 with the newest", len(names))
		}
	})
}
