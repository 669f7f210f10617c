package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/notify"
)

const secret notify.Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// request is one request that a receiver got.
type request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
	At           time.Time
	Left         <-chan struct{} // closed when the sender gives up
}

// receiver is a scripted service: answer decides, nil answers 200.
type receiver struct {
	answer func(n int, r request) (status int, header http.Header)

	mu  sync.Mutex
	all []request
	got chan request
}

func newReceiver(answer func(n int, r request) (int, http.Header)) *receiver {
	return &receiver{answer: answer, got: make(chan request, 10_000)}
}

func (v *receiver) take(r *http.Request) (int, http.Header) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return http.StatusBadRequest, nil
	}
	q := request{Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header.Clone(), Body: body, At: time.Now(), Left: r.Context().Done()}
	v.mu.Lock()
	n := len(v.all)
	v.all = append(v.all, q)
	v.mu.Unlock()
	status, header := http.StatusOK, http.Header(nil)
	if v.answer != nil {
		status, header = v.answer(n, q)
	}
	v.got <- q
	return status, header
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, header := v.take(r)
	for name, values := range header {
		w.Header()[name] = values
	}
	w.WriteHeader(status)
}

// RoundTrip stands in for a network, where time is not real. Status 0 is a connection that fails.
func (v *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	status, header := v.take(r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(header.Get("Test-Body"))), Request: r, ProtoMajor: 1,
	}, nil
}

func (v *receiver) requests() []request {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]request(nil), v.all...)
}

func (v *receiver) next(t *testing.T) request {
	t.Helper()
	select {
	case q := <-v.got:
		return q
	case <-t.Context().Done():
		t.Fatal("nothing was sent")
		return request{}
	}
}

func serve(t *testing.T, v *receiver) string {
	t.Helper()
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	return s.URL
}

func open(t *testing.T, o notify.Options) *notify.Outbox {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	b, err := notify.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t *testing.T, b *notify.Outbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.Close(ctx); err != nil {
		t.Error(err)
	}
}

func webhook(name, url string) notify.Sink {
	return notify.Sink{Name: name, Type: "webhook", URL: notify.Secret(url), Secrets: []notify.Secret{secret}}
}

var at = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// held is an event with everything in it.
func held(t notify.Type) notify.Event {
	return notify.Event{
		Type: t, Time: at, Hold: "6f1c2d3e4f5061728394a5b6c7d8e9f0", State: "pending", Requester: "alice@contoso.com", Ticket: "1042",
		Agent: "helpdesk-1", Channel: "teams", Provider: "duo", API: "microsoft-graph", Operation: "user.password.reset",
		Category: "credential_reset", Summary: "Reset the password of bob@contoso.com", OpenedAt: at, ExpiresAt: at.Add(5 * time.Minute),
	}
}

func escalation(hold, state string) notify.Event {
	e := held(notify.EscalationRequested)
	e.Hold, e.State = hold, state
	return e
}

// verified checks a signature as a receiver would, from the words of the specification.
func verified(q request, secret notify.Secret) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(secret), "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(q.Header.Get("webhook-id") + "." + q.Header.Get("webhook-timestamp") + "."))
	mac.Write(q.Body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for s := range strings.SplitSeq(q.Header.Get("webhook-signature"), " ") {
		if hmac.Equal([]byte(s), []byte(want)) {
			return true
		}
	}
	return false
}

// spooled lists the records in a spool, or in a folder of it.
func spooled(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// crash copies the spool as a power cut would leave it: the process that had it never closes it.
func crash(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range spooled(t, dir) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// pass lets d go by, under synctest.
func pass(d time.Duration) { <-time.After(d) }
