package operation_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
	"countersign/internal/operation"
)

// graphLike is an API with Graph's reading of URLs and as few entries as the tests need.
const graphLike = `{
  "api": "microsoft-graph", "source": "test", "hosts": ["graph.example"],
  "semantics": {"fold_case": true, "keys": "odata", "versions": ["v1.0", "beta"], "tenant_prefix": true,
    "namespaces": ["microsoft.graph."], "batch": "$batch", "batch_max": 20, "path_addressed": ["items", "sites"]},
  "secrets": ["**/password"],
  "entries": [
    {"name": "user.password.reset", "method": "PATCH PUT", "path": "/users/{user}", "when": [{"has": ["passwordProfile"]}],
     "category": "credential_reset", "resource": "user", "summary": "Reset the password of {user}", "undone": "The password of {user} was not reset"},
    {"name": "application.credential.add", "method": "ACTION", "path": "/applications/{app}/addPassword",
     "category": "credential_reset", "resource": "application", "summary": "Create a secret for {app}", "undone": "No secret was created for {app}"}
  ]}`

// plainLike is an API that folds nothing and knows no keys.
const plainLike = `{
  "api": "plain", "source": "test", "hosts": ["plain.example"], "semantics": {},
  "entries": [{"name": "thing.write", "method": "WRITE", "path": "/things/**", "category": "ordinary_write"}]}`

var key = []byte("0123456789abcdef0123456789abcdef")

func newParser(t testing.TB, maxDecoded int64) *operation.Parser {
	t.Helper()
	c, err := catalog.Load(fstest.MapFS{
		"graph.json": {Data: []byte(graphLike)},
		"plain.json": {Data: []byte(plainLike)},
	})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	p, err := operation.New(operation.Options{Catalog: c, Key: key, MaxDecoded: maxDecoded})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

const jsonType = "application/json"

// request is a call to the Graph-like API; header is name, value, name, value, …
func request(method, target, body string, header ...string) operation.Request {
	h := map[string][]string{}
	if body != "" && len(header) == 0 {
		header = []string{"Content-Type", jsonType}
	}
	for pair := range slices.Chunk(header, 2) {
		h[pair[0]] = append(h[pair[0]], pair[1])
	}
	return operation.Request{Method: method, Scheme: "https", Host: "graph.example", Target: target, Header: h, Body: []byte(body)}
}

func mustParse(t testing.TB, p *operation.Parser, r operation.Request) operation.Call {
	t.Helper()
	c, err := p.Parse(r)
	if err != nil {
		t.Fatalf("Parse(%s %s %q) = %v", r.Method, r.Target, r.Body, err)
	}
	return c
}

// wantUninspectable fails unless err says why, in words that carry nothing of the request.
func wantUninspectable(t testing.TB, what string, err error) {
	t.Helper()
	u, ok := errors.AsType[*operation.Uninspectable](err)
	if !ok {
		t.Errorf("%s: err = %v, want *Uninspectable", what, err)
		return
	}
	if u.Why == "" || strings.ContainsAny(u.Why, "\"\n") {
		t.Errorf("%s: Why = %q", what, u.Why)
	}
}

func TestAnUninspectableErrorNeverQuotesTheRequest(t *testing.T) {
	p := newParser(t, 0)
	for _, r := range []operation.Request{
		request("PATCH", "/v1.0/users/hunter2//x", ""),
		request("PATCH", "/v1.0/users/x", `{"hunter2":1,"hunter2":2}`),
		request("PATCH", "/v1.0/users/x?hunter2;y", ""),
		request("PATCH", "/v1.0/users/x", `{}`, "Content-Type", "hunter2;;"),
		request("PATCH", "/v1.0/users/x", `{}`, "Hun ter2", "x"),
	} {
		_, err := p.Parse(r)
		wantUninspectable(t, r.Target, err)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the request: %v", err)
		}
	}
}

func TestAPasswordResetIsNamedMaskedAndDigested(t *testing.T) {
	r := request("PATCH", "/v1.0/users/bob@contoso.com", `{"passwordProfile":{"Password":"hunter2","forceChangePasswordNextSignIn":true}}`,
		"Content-Type", jsonType, "Authorization", "Bearer hunter2", "Cookie", "hunter2", "Prefer", "return=minimal", "Connection", "keep-alive", "X-Api-Key", "hunter2")
	call := mustParse(t, newParser(t, 0), r)
	if call.API != "microsoft-graph" || call.Batch || len(call.Inputs) != 1 {
		t.Fatalf("Call = %+v", call)
	}
	in := call.Inputs[0]
	if got, want := in.Operation.Name, "user.password.reset"; got != want {
		t.Errorf("Name = %q, want %q", got, want)
	}
	if got, want := in.Operation.Summary, "Reset the password of bob@contoso.com"; got != want {
		t.Errorf("Summary = %q, want %q", got, want)
	}
	if !in.Operation.Sensitive || in.Operation.Catalog != "listed" || in.Operation.Resource.ID != "bob@contoso.com" {
		t.Errorf("Operation = %+v", in.Operation)
	}
	if got := slices.Sorted(maps.Keys(in.Request.Headers)); !slices.Equal(got, []string{"content-type", "prefer"}) {
		t.Errorf("Headers = %q, want content-type and prefer", got)
	}
	out, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "hunter2") || !strings.Contains(string(out), `"Password":"[secret]"`) {
		t.Errorf("the policy's input has a secret: %s", out)
	}
	if in.Request.Digest != call.Digest || call.Digest.Equal([32]byte{}) {
		t.Errorf("Digest = %v and %v", in.Request.Digest, call.Digest)
	}
	if !slices.Equal(in.Request.Segments, []string{"v1.0", "users", "bob@contoso.com"}) || in.Request.Path != "/v1.0/users/bob@contoso.com" {
		t.Errorf("Path = %q, Segments = %q", in.Request.Path, in.Request.Segments)
	}
}

func TestSecretsOfAFormAreMaskedToo(t *testing.T) {
	r := request("POST", "/v1.0/token", "grant_type=password&password=hunter2", "Content-Type", "application/x-www-form-urlencoded")
	body, ok := mustParse(t, newParser(t, 0), r).Inputs[0].Request.Body.(map[string]any)
	if !ok || body["password"] != "[secret]" || body["grant_type"] != "password" {
		t.Errorf("Body = %v, want the password masked", body)
	}
}

func TestMaskingLeavesTheCallersBytesAlone(t *testing.T) {
	p := newParser(t, 0)
	r := request("PATCH", "/v1.0/users/bob", `{"list":[{"password":"a"},{"password":"b"}],"password":null,"x":1}`)
	first := mustParse(t, p, r)
	out, err := json.Marshal(first.Inputs[0].Request.Body)
	if want := `{"list":[{"password":"[secret]"},{"password":"[secret]"}],"password":null,"x":1}`; err != nil || string(out) != want {
		t.Errorf("Body = %s, %v, want %s", out, err, want)
	}
	if mustParse(t, p, r).Digest != first.Digest {
		t.Error("masking changed what is digested")
	}
}

func TestAHostWithoutACatalogStillHasOperations(t *testing.T) {
	p := newParser(t, 0)
	for method, category := range map[string]string{"GET": "read", "HEAD": "read", "OPTIONS": "read", "POST": "ordinary_write", "DELETE": "ordinary_write"} {
		r := request(method, "/a/b\u202e", "")
		r.Host, r.Target = "other.example", "/a/b%20c?token=hunter2"
		op := mustParse(t, p, r).Inputs[0].Operation
		if op.API != "" || op.Catalog != "none" || op.Category != category || op.Sensitive {
			t.Errorf("%s: Operation = %+v", method, op)
		}
		if op.Summary != method+" other.example/a/b c" || strings.Contains(op.Undone, "hunter2") {
			t.Errorf("%s: Summary = %q, Undone = %q", method, op.Summary, op.Undone)
		}
	}
}

func TestNewRefusesToWorkWithoutACatalog(t *testing.T) {
	if _, err := operation.New(operation.Options{}); err == nil {
		t.Error("New without a catalog: no error")
	}
}

func TestARequestThatNoListenerShouldLetThroughIsUninspectable(t *testing.T) {
	p := newParser(t, 0)
	for what, change := range map[string]func(*operation.Request){
		"lower-case method":   func(r *operation.Request) { r.Method = "patch" },
		"no method":           func(r *operation.Request) { r.Method = "" },
		"CONNECT":             func(r *operation.Request) { r.Method = "CONNECT" },
		"plain http":          func(r *operation.Request) { r.Scheme = "http" },
		"upper-case host":     func(r *operation.Request) { r.Host = "Graph.example" },
		"host with port":      func(r *operation.Request) { r.Host = "graph.example:8443" },
		"host with dot":       func(r *operation.Request) { r.Host = "graph.example." },
		"no host":             func(r *operation.Request) { r.Host = "" },
		"absolute form":       func(r *operation.Request) { r.Target = "https://graph.example/v1.0/me" },
		"asterisk form":       func(r *operation.Request) { r.Target = "*" },
		"empty target":        func(r *operation.Request) { r.Target = "" },
		"another Host header": func(r *operation.Request) { r.Header["Host"] = []string{"evil.example"} },
	} {
		r := request("GET", "/v1.0/me", "")
		change(&r)
		_, err := p.Parse(r)
		wantUninspectable(t, what, err)
	}
}
