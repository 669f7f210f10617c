package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"countersign/internal/audit"
	"countersign/internal/control"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/refusal"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/providers"
)

// phone is a verifier whose person answers when the test says so.
type phone struct{ answers chan providers.Verdict }

func (p *phone) Start(_ context.Context, c providers.Challenge) (providers.Attempt, error) {
	return providers.Attempt{Asked: true, Transaction: "tx-" + c.HoldID}, nil
}

func (p *phone) Wait(ctx context.Context, _ string) (providers.Outcome, error) {
	select {
	case v := <-p.answers:
		return providers.Outcome{Verdict: v}, nil
	case <-ctx.Done():
		return providers.Outcome{}, ctx.Err()
	}
}

type journal struct{}

func (journal) Record(context.Context, audit.Event) error { return nil }

// identities reads "person/agent" from the assertion's header, or "~person/agent" for one that is only asserted.
type identities struct{}

func (identities) Identify(_ context.Context, h, _ http.Header) requester.Identity {
	name, agent, ok := strings.Cut(h.Get("Countersign-Assertion"), "/")
	if !ok {
		return requester.Identity{}
	}
	id := requester.Identity{Subject: policy.Subject{Agent: agent, Requester: policy.Requester{ID: name, Assurance: policy.AssuranceAttested}}}
	if plain, ok := strings.CutPrefix(name, "~"); ok {
		id.Subject.Requester.ID, id.Subject.Requester.Assurance = plain, policy.AssuranceAsserted
	}
	return id
}

type clearing struct {
	*hold.Desk
	mu sync.Mutex
	by string
}

func (c *clearing) Clear(ctx context.Context, person, by string) error {
	c.mu.Lock()
	c.by = by
	c.mu.Unlock()
	return c.Desk.Clear(ctx, person)
}

// place is a control listener in front of a real desk.
type place struct {
	t     *testing.T
	base  string
	desk  *clearing
	phone *phone
	spec  map[string]any
	check *jsonschema.Compiler
}

func newPlace(t *testing.T, changes ...func(*control.Options)) *place {
	t.Helper()
	p := &place{t: t, phone: &phone{answers: make(chan providers.Verdict)}}
	desk, err := hold.NewDesk(hold.Options{Ledger: ledger.NewMemory(), Recorder: journal{}, Verifiers: []hold.Named{{Name: "duo", Verifier: p.phone}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = desk.Drain(context.Background()) })
	p.desk = &clearing{Desk: desk}
	o := control.Options{
		Token: func() string { return "tok" }, Holds: p.desk, Identify: identities{},
		Outcome: func(r hold.Record) *refusal.Error {
			return &refusal.Error{Code: refusal.VerificationDenied, Requester: r.Subject.Requester.ID}
		},
	}
	for _, change := range changes {
		change(&o)
	}
	p.base = start(t, o)
	p.readSpec()
	return p
}

// readSpec loads the description that the server serves.
func (p *place) readSpec() {
	p.t.Helper()
	raw, err := os.ReadFile("openapi.json")
	if err != nil {
		p.t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		p.t.Fatal(err)
	}
	p.spec = doc.(map[string]any)
	p.check = jsonschema.NewCompiler()
	p.check.AssertFormat()
	if err := p.check.AddResource("mem:///openapi.json", doc); err != nil {
		p.t.Fatal(err)
	}
}

// hold opens a hold of alice's by agent a1.
func (p *place) hold(n byte) *hold.Attachment {
	p.t.Helper()
	a, err := p.desk.Attach(p.t.Context(), hold.Request{
		Digest:  policy.Digest{n},
		Subject: policy.Subject{Agent: "a1", Ticket: "T-1", Requester: policy.Requester{ID: "alice@contoso.com", Assurance: policy.AssuranceAttested}},
		Operations: []policy.Operation{{
			Name: "user.password.reset", Category: "credential_reset", Summary: "Reset the password of bob", Resource: policy.Resource{Type: "user", ID: "bob"},
		}},
		Summary:  "Reset the password of bob",
		Decision: policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester"}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { a.Leave(true) })
	return a
}

// agent and operator are the headers that callers present.
func agent(name string) http.Header { return http.Header{"Countersign-Assertion": {name}} }

func operator() http.Header {
	return http.Header{"Authorization": {"Bearer tok"}, "Countersign-Operator": {"carol"}}
}

// do sends a request, holds its answer to the description, and returns it.
func (p *place) do(method, path, route string, h http.Header, body string) (int, map[string]any) {
	p.t.Helper()
	resp := p.send(method, path, h, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	p.described(method, route, resp, text)
	var out map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			p.t.Fatalf("%s %s: %s: %v", method, path, text, err)
		}
	}
	return resp.StatusCode, out
}

func (p *place) send(method, path string, h http.Header, body string) *http.Response {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header = h.Clone()
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp
}

// described fails the test unless the answer is one that the description has, in its shape.
func (p *place) described(method, route string, resp *http.Response, text []byte) {
	p.t.Helper()
	at := []string{"paths", route, strings.ToLower(method), "responses", itoa(resp.StatusCode)}
	answer := p.at(at...)
	if answer == nil {
		p.t.Errorf("%s %s answers %d, which is not described", method, route, resp.StatusCode)
		return
	}
	if ref, ok := answer["$ref"].(string); ok {
		at = strings.Split(strings.TrimPrefix(ref, "#/"), "/")
		answer = p.at(at...)
	}
	content, _ := answer["content"].(map[string]any)
	if content == nil {
		if len(text) > 0 {
			p.t.Errorf("%s %s: a body that is not described: %s", method, route, text)
		}
		return
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if content[kind] == nil {
		p.t.Errorf("%s %s: content type %s is not described", method, route, kind)
		return
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	pointer := "#"
	for _, token := range append(at, "content", kind, "schema") {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(token)
	}
	schema, err := p.check.Compile("mem:///openapi.json" + pointer)
	if err != nil {
		p.t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		p.t.Fatalf("%s %s: %s: %v", method, route, text, err)
	}
	if err := schema.Validate(value); err != nil {
		p.t.Errorf("%s %s: %s\nis not as described: %v", method, route, text, err)
	}
}

func (p *place) at(path ...string) map[string]any {
	here := p.spec
	for _, step := range path {
		here, _ = here[step].(map[string]any)
	}
	return here
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}
