package decisionlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/decisionlog"
	"countersign/policy"
)

func TestAnEventHasOPAsFormAndNoSecret(t *testing.T) {
	e := serve(t, status(http.StatusNoContent))
	l := open(t, e, func(o *decisionlog.Options) { o.Token = func() (string, error) { return "t0ken\n", nil } })
	decide(t, l.Of(decider{decisions: []policy.Decision{held}}, nil), secretive())
	u := e.next(t)
	if u.path != "/opa/logs" || u.header.Get("Authorization") != "Bearer t0ken" || u.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v", u.path, u.header)
	}
	if strings.Contains(u.raw, "hunter2") {
		t.Errorf("a secret in %s", u.raw)
	}
	if len(u.events) != 1 {
		t.Fatalf("%d events", len(u.events))
	}
	ev := u.events[0]
	for path, want := range map[string]any{
		"path": "countersign/decision", "labels.id": "sidecar-1", "revision": "sha-256:aa", "bundles.countersign.revision": "sha-256:aa", "requested_by": "helpdesk-1",
		"input.subject.requester.id": "alice@contoso.com", "input.subject.requester.assurance": "attested", "input.subject.ticket": "T-1",
		"input.operation.name": "user.password.reset", "input.operation.resource.id": "bob@contoso.com",
		"input.request.path": "/v1.0/users/bob@contoso.com", "input.request.method": "PATCH", "input.evidence.hold": "h1",
		"result.effect": "step_up", "result.requirement.approver": "requester",
	} {
		if got := find(ev, path); got != want {
			t.Errorf("%s = %v, want %v", path, got, want)
		}
	}
	if id, _ := ev["decision_id"].(string); len(id) != 36 {
		t.Errorf("decision_id = %q", id)
	}
	if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(ev["timestamp"])); err != nil {
		t.Error(err)
	}
	if erased := fmt.Sprint(ev["erased"]); !strings.Contains(erased, "/input/request/body") || !strings.Contains(erased, "/input/subject/requester/claims") {
		t.Errorf("erased = %s", erased)
	}
}

func find(v any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// What goes wrong while an event is made must not let anything of the call through.
func TestAnEventThatCannotBeMadeHasItsStampOnly(t *testing.T) {
	e := serve(t, status(http.StatusOK))
	l := open(t, e, nil)
	in := secretive()
	in.Request.Path = "/hunter2/" + strings.Repeat("x", 1<<20)
	decide(t, l.Of(decider{decisions: []policy.Decision{held}}, nil), in)
	u := e.next(t)
	ev := u.events[0]
	if strings.Contains(u.raw, "hunter2") || ev["input"] != nil || ev["result"] != nil || fmt.Sprint(ev["erased"]) != "[/input /result]" {
		t.Errorf("%.500s", u.raw)
	}
	if ev["decision_id"] == "" || ev["revision"] != "sha-256:aa" || ev["timestamp"] == nil {
		t.Errorf("the stamp is %v", ev)
	}
}

func TestABatchIsJoinedAndAFailureHasNoInnerText(t *testing.T) {
	e := serve(t, status(http.StatusOK))
	l := open(t, e, func(o *decisionlog.Options) { o.MinDelay, o.MaxDelay = time.Hour, time.Hour })
	decide(t, l.Of(decider{decisions: []policy.Decision{held, held}}, nil), secretive(), secretive())
	failing := l.Of(decider{err: fmt.Errorf("%w: the input has hunter2", policy.ErrUndefined)}, func() string { return "sha-256:bb" })
	if _, err := failing.DecideAll(t.Context(), []policy.Input{secretive()}); !errors.Is(err, policy.ErrUndefined) {
		t.Errorf("DecideAll = %v, want the decider's own error", err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	u := e.next(t)
	if len(u.events) != 3 || strings.Contains(u.raw, "hunter2") {
		t.Fatalf("%d events: %s", len(u.events), u.raw)
	}
	if a, b := u.events[0], u.events[1]; a["batch_decision_id"] == nil || a["batch_decision_id"] != b["batch_decision_id"] || a["decision_id"] == b["decision_id"] {
		t.Errorf("batch: %v and %v", a["batch_decision_id"], b["batch_decision_id"])
	}
	if last := u.events[2]; find(last, "error.code") != "policy_unavailable" || last["result"] != nil || last["revision"] != "sha-256:bb" {
		t.Errorf("a failure: %v", last)
	}
	if l.Sent() != 3 || l.Dropped() != 0 {
		t.Errorf("sent %d, dropped %d", l.Sent(), l.Dropped())
	}
}

func TestWhatTheEndpointDoesNotTakeNowIsSentAgain(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request, _ upload) {
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.Close() // that is the point
		}
	}
	moved := func(w http.ResponseWriter, r *http.Request, _ upload) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}
	e := serve(t, status(http.StatusInternalServerError), status(http.StatusTooManyRequests), status(http.StatusUnauthorized), cut, moved, status(http.StatusOK))
	tokens := 0
	l := open(t, e, func(o *decisionlog.Options) {
		o.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		o.Token = func() (string, error) { tokens++; return fmt.Sprint(tokens), nil } // only one upload runs at a time
	})
	decide(t, l.Of(decider{decisions: []policy.Decision{held}}, nil), secretive())
	first := e.next(t)
	for try := 2; try <= 6; try++ {
		u := e.next(t)
		if len(u.events) != 1 || u.events[0]["decision_id"] != first.events[0]["decision_id"] {
			t.Fatalf("try %d: %v", try, u.events)
		}
		if got, want := u.header.Get("Authorization"), fmt.Sprint("Bearer ", try); got != want {
			t.Errorf("try %d: %s, want %s: the token is to be read anew", try, got, want)
		}
		if u.path != "/opa/logs" {
			t.Errorf("try %d went to %s", try, u.path)
		}
	}
	if err := l.Close(t.Context()); err != nil || l.Sent() != 1 || l.Dropped() != 0 {
		t.Errorf("Close = %v, sent %d, dropped %d", err, l.Sent(), l.Dropped())
	}
}

func TestOneEventThatIsRefusedDoesNotHoldUpTheOthers(t *testing.T) {
	picky := func(w http.ResponseWriter, _ *http.Request, u upload) {
		if strings.Contains(u.raw, "T-7") {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}
	}
	e := serve(t, picky)
	l := open(t, e, func(o *decisionlog.Options) { o.MinDelay, o.MaxDelay = time.Hour, time.Hour })
	d := l.Of(decider{decisions: []policy.Decision{held}}, nil)
	for i := range 10 {
		in := secretive()
		in.Subject.Ticket = fmt.Sprint("T-", i)
		decide(t, d, in)
	}
	if err := l.Close(t.Context()); err != nil || l.Sent() != 9 || l.Dropped() != 1 {
		t.Errorf("Close = %v, sent %d, dropped %d", err, l.Sent(), l.Dropped())
	}
}

func TestUploadsAreBounded(t *testing.T) {
	e := serve(t, status(http.StatusOK))
	l := open(t, e, func(o *decisionlog.Options) { o.MinDelay, o.MaxDelay, o.Upload = time.Hour, time.Hour, 4000 })
	d := l.Of(decider{decisions: []policy.Decision{held}}, nil)
	for range 30 {
		decide(t, d, secretive())
	}
	if err := l.Close(t.Context()); err != nil || l.Sent() != 30 {
		t.Fatalf("Close = %v, sent %d", err, l.Sent())
	}
	close(e.uploads)
	n := 0
	for u := range e.uploads {
		n += len(u.events)
		if u.size > 4000 {
			t.Errorf("an upload of %d bytes", u.size)
		}
	}
	if n != 30 {
		t.Errorf("%d events, want 30", n)
	}
}

// An endpoint that hangs takes neither memory nor time of those who decide, and the oldest go first.
func TestAHangingEndpointDelaysNothing(t *testing.T) {
	free := make(chan struct{})
	hang := func(_ http.ResponseWriter, r *http.Request, _ upload) {
		select {
		case <-free:
		case <-r.Context().Done():
		}
	}
	e := serve(t, hang, status(http.StatusOK))
	l := open(t, e, func(o *decisionlog.Options) { o.Buffer = 20000 })
	d := l.Of(decider{decisions: []policy.Decision{held}}, nil)
	decide(t, d, secretive())
	e.next(t)
	for i := range 1000 { // with the first upload still under way
		in := secretive()
		in.Subject.Ticket = fmt.Sprint("T-", i)
		decide(t, d, in)
	}
	if l.Dropped() < 900 {
		t.Errorf("%d dropped: the buffer has no bound", l.Dropped())
	}
	close(free)
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(e.uploads)
	var last upload
	for u := range e.uploads {
		last = u
	}
	if n := len(last.events); n == 0 || find(last.events[n-1], "input.subject.ticket") != "T-999" {
		t.Errorf("the newest is not among what was sent")
	}
	if l.Sent()+l.Dropped() != 1001 {
		t.Errorf("sent %d and dropped %d of 1001", l.Sent(), l.Dropped())
	}
}

func TestAStopDoesNotWaitForAnEndpointThatHangs(t *testing.T) {
	e := serve(t, func(_ http.ResponseWriter, r *http.Request, _ upload) { <-r.Context().Done() })
	l := open(t, e, nil)
	d := l.Of(decider{decisions: []policy.Decision{held}}, nil)
	decide(t, d, secretive())
	e.next(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); err == nil {
		t.Error("Close says that everything was sent")
	}
	decide(t, d, secretive()) // decides all the same
	if l.Dropped() != 2 || l.Sent() != 0 {
		t.Errorf("sent %d, dropped %d", l.Sent(), l.Dropped())
	}
}

func TestATokenThatCannotBeReadSendsNothing(t *testing.T) {
	e := serve(t, status(http.StatusOK))
	asked := make(chan struct{}, 100)
	var out bytes.Buffer
	l := open(t, e, func(o *decisionlog.Options) {
		o.Logger = slog.New(slog.NewTextHandler(&out, nil))
		o.Token = func() (string, error) {
			select {
			case asked <- struct{}{}:
			default:
			}
			return "", errors.New("no such file")
		}
	})
	decide(t, l.Of(decider{decisions: []policy.Decision{held}}, nil), secretive())
	<-asked
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); err == nil || len(e.uploads) != 0 {
		t.Errorf("Close = %v, %d uploads", err, len(e.uploads))
	}
	if s := out.String(); !strings.Contains(s, "decision log not sent") || strings.Contains(s, "hunter2") {
		t.Errorf("log: %s", s)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	good := decisionlog.Options{URL: "https://logs.example.com", Client: &http.Client{}, Logger: slog.New(slog.DiscardHandler)}
	for name, change := range map[string]func(*decisionlog.Options){
		"no url":     func(o *decisionlog.Options) { o.URL = "" },
		"a password": func(o *decisionlog.Options) { o.URL = "https://u:p@logs.example.com" },
		"a query":    func(o *decisionlog.Options) { o.URL += "?token=x" },
		"a file":     func(o *decisionlog.Options) { o.URL = "file:///tmp" },
		"no client":  func(o *decisionlog.Options) { o.Client = nil },
		"no logger":  func(o *decisionlog.Options) { o.Logger = nil },
		"delays":     func(o *decisionlog.Options) { o.MinDelay, o.MaxDelay = time.Minute, time.Second },
	} {
		o := good
		change(&o)
		if l, err := decisionlog.New(o); err == nil {
			_ = l.Close(t.Context())
			t.Errorf("%s: no error", name)
		}
	}
}
