package policy_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/policy"
	"countersign/rego"
)

var now = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// options make an engine on the built-in policy and the given paths.
func options(paths ...string) policy.Options {
	return policy.Options{
		Base:   rego.Policies(),
		Paths:  paths,
		Logger: slog.New(slog.DiscardHandler),
		Now:    func() time.Time { return now },
		// On a loaded machine a test must not be refused for being late.
		Deadline: time.Minute,
	}
}

// engine makes one with a customer's module; "" for none.
func engine(tb testing.TB, module string) *policy.Engine {
	tb.Helper()
	o := options()
	if module != "" {
		o.Paths = []string{write(tb, tb.TempDir(), "policy.rego", module)}
	}
	return start(tb, o)
}

func start(tb testing.TB, o policy.Options) *policy.Engine {
	tb.Helper()
	e, err := policy.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := e.Ready(); err != nil {
		tb.Fatal(err)
	}
	return e
}

func write(tb testing.TB, dir, name, text string) string {
	tb.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

func subject() policy.Subject {
	return policy.Subject{
		Agent: "helpdesk-1",
		Requester: policy.Requester{
			ID: "alice@contoso.com", Assurance: policy.AssuranceAttested, ObjectID: "0a1b",
			Claims: map[string]any{"department": "IT", "ticket": "T-1042"},
		},
		Ticket: "T-1042",
	}
}

// read is an operation that the floor allows.
func read() policy.Input {
	return policy.Input{
		Subject: subject(),
		Operation: policy.Operation{
			API: "microsoft-graph", Name: "user.read", Category: "read", Catalog: "listed",
			Resource: policy.Resource{Type: "user", ID: "bob@contoso.com"}, Summary: "Read bob@contoso.com",
		},
		Request: policy.Request{
			Method: "GET", Host: "graph.microsoft.com", Path: "/v1.0/users/bob@contoso.com",
			Segments: []string{"v1.0", "users", "bob@contoso.com"},
			Headers:  map[string][]string{"accept": {"application/json"}},
			BodyKind: "none",
		},
	}
}

// reset is an operation that the floor holds.
func reset() policy.Input {
	in := read()
	in.Operation.Name, in.Operation.Category, in.Operation.Sensitive = "user.password.reset", "credential_reset", true
	in.Operation.Summary = "Reset the password of bob@contoso.com"
	in.Request.Method, in.Request.BodyKind = "PATCH", "json"
	in.Request.Headers["content-type"] = []string{"application/json"}
	in.Request.Body = map[string]any{"passwordProfile": map[string]any{"password": "[secret]"}}
	return in
}

// update is an ordinary write, allowed.
func update() policy.Input {
	in := reset()
	in.Operation.Name, in.Operation.Category, in.Operation.Sensitive = "user.update", "ordinary_write", false
	return in
}
