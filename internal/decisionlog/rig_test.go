package decisionlog_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"countersign/internal/decisionlog"
	"countersign/policy"
)

// upload is what the endpoint got in one request.
type upload struct {
	header http.Header
	path   string
	size   int
	raw    string
	events []map[string]any
}

// endpoint is like that of OPA's control planes. Each upload is told of, and answered by the next of answers, the last for good.
type endpoint struct {
	*httptest.Server
	uploads chan upload
	mu      sync.Mutex
	answers []func(http.ResponseWriter, *http.Request, upload)
}

func status(code int) func(http.ResponseWriter, *http.Request, upload) {
	return func(w http.ResponseWriter, _ *http.Request, _ upload) { w.WriteHeader(code) }
}

func serve(t *testing.T, answers ...func(http.ResponseWriter, *http.Request, upload)) *endpoint {
	t.Helper()
	e := &endpoint{uploads: make(chan upload, 10000), answers: answers}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := upload{header: r.Header, path: r.URL.Path}
		z, err := gzip.NewReader(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s %v: no gzip: %v", r.Method, r.Header, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		raw, err := io.ReadAll(z)
		u.raw, u.size = string(raw), len(raw)
		if err = errors.Join(err, json.Unmarshal(raw, &u.events)); err != nil {
			t.Errorf("no JSON array: %v", err)
		}
		e.mu.Lock()
		answer := e.answers[0]
		if len(e.answers) > 1 {
			e.answers = e.answers[1:]
		}
		e.mu.Unlock()
		e.uploads <- u
		answer(w, r, u)
	}))
	t.Cleanup(e.Close)
	return e
}

// next waits for an upload.
func (e *endpoint) next(t *testing.T) upload {
	t.Helper()
	select {
	case u := <-e.uploads:
		return u
	case <-t.Context().Done():
		t.Fatal("no upload")
		return upload{}
	}
}

func open(t *testing.T, e *endpoint, change func(*decisionlog.Options)) *decisionlog.Log {
	t.Helper()
	o := decisionlog.Options{
		URL: e.URL + "/opa", Labels: map[string]string{"id": "sidecar-1"}, Client: e.Client(), MinDelay: time.Millisecond, MaxDelay: 2 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	l, err := decisionlog.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = l.Close(ctx) // a test that cares has closed it
	})
	return l
}

// decider answers what it is told to.
type decider struct {
	decisions []policy.Decision
	err       error
}

func (d decider) DecideAll(context.Context, []policy.Input) ([]policy.Decision, error) {
	return d.decisions, d.err
}

var held = policy.Decision{
	Effect: policy.StepUp, Operation: "user.password.reset", Category: "credential_reset", Summary: "Reset it", Revision: "sha-256:aa",
	Reasons: []policy.Reason{{Code: "credential_reset", Text: "It changes how somebody signs in."}},
	Requirement: &policy.Requirement{
		Approver: "requester", Providers: []string{"duo"},
	},
}

// secretive has "hunter2" in every place that may hold a secret.
func secretive() policy.Input {
	return policy.Input{
		Subject: policy.Subject{Agent: "helpdesk-1", Ticket: "T-1", Requester: policy.Requester{
			ID: "alice@contoso.com", Assurance: policy.AssuranceAttested, Claims: map[string]any{"hunter2": "hunter2"},
		}},
		Operation: policy.Operation{
			API: "microsoft-graph", Name: "user.password.reset", Category: "credential_reset", Catalog: "listed", Sensitive: true,
			Resource: policy.Resource{Type: "user", ID: "bob@contoso.com"},
		},
		Request: policy.Request{
			Method: "PATCH", Host: "graph.microsoft.com", Path: "/v1.0/users/bob@contoso.com", BodyKind: "json",
			Query: map[string][]string{"hunter2": {"hunter2"}}, Headers: map[string][]string{"x-hunter2": {"hunter2"}},
			Body: map[string]any{"hunter2": "hunter2"}, Segments: []string{"v1.0", "users", "bob@contoso.com"},
		},
		Evidence: &policy.Evidence{Hold: "h1", Provider: "duo", Transaction: "hunter2"},
	}
}

func decide(t *testing.T, d *decisionlog.Decisions, ins ...policy.Input) {
	t.Helper()
	if _, err := d.DecideAll(t.Context(), ins); err != nil {
		t.Fatal(err)
	}
}
