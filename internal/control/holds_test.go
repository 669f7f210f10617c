package control_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/internal/control"
	"countersign/providers"
)

func TestAnAgentSeesWhatItCausedAndNothingElse(t *testing.T) {
	p := newPlace(t)
	id := string(p.hold(1).ID())
	for who, want := range map[string]int{
		"alice@contoso.com/a1": 200, "ALICE@contoso.com/a1": 200, "bob@contoso.com/a1": 404, "alice@contoso.com/a2": 404, "~alice@contoso.com/a1": 404, "": 401,
	} {
		code, body := p.do("GET", "/v1/holds/"+id, "/v1/holds/{id}", agent(who), "")
		if code != want {
			t.Errorf("%q: %d, want %d: %v", who, code, want, body)
		}
		code, body = p.do("GET", "/v1/holds", "/v1/holds", agent(who), "")
		if list, _ := body["holds"].([]any); (want == 200) != (code == 200 && len(list) == 1) || code == 200 && want != 200 && len(list) != 0 {
			t.Errorf("%q lists %d %v", who, code, body)
		}
	}
	if code, body := p.do("GET", "/v1/holds/"+id, "/v1/holds/{id}", operator(), ""); code != 200 || body["status"] != "pending" || body["requester"] != "alice@contoso.com" {
		t.Errorf("operator: %d %v", code, body)
	}
	for _, none := range []string{strings.Repeat("0", 32), "nonsense"} {
		if code, _ := p.do("GET", "/v1/holds/"+none, "/v1/holds/{id}", agent("alice@contoso.com/a1"), ""); code != 404 {
			t.Errorf("hold %s: %d, want 404", none, code)
		}
	}
}

func TestAWaitingAgentIsToldWhenThePersonAnswers(t *testing.T) {
	p := newPlace(t)
	id := string(p.hold(1).ID())
	got := make(chan string, 1)
	go func() {
		_, body := p.do("GET", "/v1/holds/"+id+"?wait=60", "/v1/holds/{id}", agent("alice@contoso.com/a1"), "")
		status, _ := body["status"].(string)
		got <- status
	}()
	p.phone.answers <- providers.Approved
	if status := <-got; status != "approved" {
		t.Errorf("status = %s, want approved", status)
	}
	_, body := p.do("GET", "/v1/holds/"+id, "/v1/holds/{id}", agent("alice@contoso.com/a1"), "")
	if body["claim_by"] == nil || !strings.Contains(body["detail"].(string), "Send the same request again") {
		t.Errorf("answer = %v, want how and until when it is claimed", body)
	}
	for _, bad := range []string{"x", "-1", "1.5"} {
		if code, _ := p.do("GET", "/v1/holds/"+id+"?wait="+bad, "/v1/holds/{id}", operator(), ""); code != 400 {
			t.Errorf("wait=%s: %d, want 400", bad, code)
		}
	}
}

func TestARefusedHoldSaysWhy(t *testing.T) {
	p := newPlace(t)
	a := p.hold(1)
	p.phone.answers <- providers.Denied
	if _, err := a.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, body := p.do("GET", "/v1/holds/"+string(a.ID()), "/v1/holds/{id}", agent("alice@contoso.com/a1"), "")
	if body["status"] != "denied" || body["code"] != "verification_denied" || !strings.Contains(body["detail"].(string), "alice@contoso.com declined") {
		t.Errorf("answer = %v", body)
	}
	if _, body = p.do("GET", "/v1/holds?status=pending", "/v1/holds", operator(), ""); len(body["holds"].([]any)) != 0 {
		t.Errorf("pending holds = %v, want none", body)
	}
}

func TestOnlyAnOperatorCancelsAndNobodyApproves(t *testing.T) {
	p := newPlace(t)
	id := string(p.hold(1).ID())
	if code, _ := p.do("DELETE", "/v1/holds/"+id, "/v1/holds/{id}", agent("alice@contoso.com/a1"), ""); code != 401 {
		t.Errorf("an agent cancels: %d, want 401", code)
	}
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		resp := p.send(method, "/v1/holds/"+id, operator(), `{"status":"approved"}`)
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d, want 405", method, resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	if code, body := p.do("DELETE", "/v1/holds/"+id, "/v1/holds/{id}", operator(), ""); code != 200 || body["status"] != "withdrawn" {
		t.Errorf("operator cancels: %d %v", code, body)
	}
	if code, _ := p.do("DELETE", "/v1/holds/"+id, "/v1/holds/{id}", operator(), ""); code != 409 {
		t.Errorf("twice: %d, want 409", code)
	}
	if code, _ := p.do("DELETE", "/v1/holds/"+strings.Repeat("0", 32), "/v1/holds/{id}", operator(), ""); code != 404 {
		t.Errorf("no hold: %d, want 404", code)
	}
}

func TestAnOperatorUnblocksAPerson(t *testing.T) {
	p := newPlace(t)
	a := p.hold(1)
	p.phone.answers <- providers.Fraud
	if _, err := a.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, body := p.do("GET", "/v1/people", "/v1/people", operator(), "")
	people, _ := body["people"].([]any)
	if len(people) != 1 || people[0].(map[string]any)["reason"] != "fraud" {
		t.Fatalf("people = %v, want alice for fraud", body)
	}
	if code, _ := p.do("DELETE", "/v1/people/alice@contoso.com/block", "/v1/people/{person}/block", agent("alice@contoso.com/a1"), ""); code != 401 {
		t.Errorf("an agent unblocks: %d, want 401", code)
	}
	if code, _ := p.do("DELETE", "/v1/people/alice@contoso.com/block", "/v1/people/{person}/block", operator(), ""); code != 204 {
		t.Errorf("operator unblocks: %d", code)
	}
	if _, body = p.do("GET", "/v1/people", "/v1/people", operator(), ""); len(body["people"].([]any)) != 0 || p.desk.by != "carol" {
		t.Errorf("people = %v, cleared by %q", body, p.desk.by)
	}
}

// event is one Server-Sent Event.
type event struct{ id, kind, data string }

// stream reads events until the test ends.
func (p *place) stream(h http.Header, after string) <-chan event {
	p.t.Helper()
	if after != "" {
		h.Set("Last-Event-ID", after)
	}
	resp := p.send("GET", "/v1/events", h, "")
	p.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		p.t.Fatalf("events: %d %v", resp.StatusCode, resp.Header)
	}
	out := make(chan event, 100)
	go func() {
		defer close(out)
		var e event
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.kind = value
			case "data":
				e.data = value
			case "":
				if e.kind != "" {
					out <- e
				}
				e = event{}
			}
		}
	}()
	return out
}

func TestEventsTellWhatBecomesOfHoldsAndAreResumed(t *testing.T) {
	p := newPlace(t)
	mine, others := p.stream(agent("alice@contoso.com/a1"), "0"), p.stream(agent("bob@contoso.com/a1"), "0")
	a := p.hold(1)
	var kinds []string
	var last event
	p.phone.answers <- providers.Denied
	for last.kind != "hold.denied" {
		last = <-mine
		kinds = append(kinds, last.kind)
		var ce map[string]any
		if err := json.Unmarshal([]byte(last.data), &ce); err != nil || ce["specversion"] != "1.0" || ce["type"] != last.kind || ce["subject"] != string(a.ID()) {
			t.Errorf("data = %s, %v", last.data, err)
		}
	}
	if slices.Contains(kinds[:len(kinds)-1], "hold.denied") || len(kinds) > 3 {
		t.Errorf("events = %v", kinds)
	}
	a.Leave(true) // changes the document once more, and is no event
	c := p.hold(3)
	if e := <-mine; !strings.Contains(e.data, string(c.ID())) {
		t.Errorf("after the denial comes %v, want the next hold", e)
	}
	select {
	case e := <-others:
		t.Errorf("bob is told %v", e)
	default:
	}
	b := p.hold(2)
	resumed := p.stream(operator(), last.id)
	for e := <-resumed; !strings.Contains(e.data, string(b.ID())); e = <-resumed {
		if e.kind != "hold.denied" && !strings.Contains(e.data, string(c.ID())) { // told again, under the same CloudEvent id
			t.Fatalf("resumed after %s with %v, want the newer holds", last.id, e)
		}
	}
	if code, _ := p.do("GET", "/v1/events", "/v1/events", http.Header{}, ""); code != 401 {
		t.Errorf("events for nobody: %d, want 401", code)
	}
	h := operator()
	h.Set("Last-Event-ID", "x")
	if code, _ := p.do("GET", "/v1/events", "/v1/events", h, ""); code != 400 {
		t.Errorf("Last-Event-ID x: %d, want 400", code)
	}
}

func TestEveryRouteIsDescribedAndEveryDescriptionIsARoute(t *testing.T) {
	p := newPlace(t, func(o *control.Options) { o.Plan = noPlan })
	described := map[string]bool{}
	for path, item := range p.spec["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			described[strings.ToUpper(method)+" "+path] = true
		}
	}
	routes := control.Routes(control.Options{Metrics: control.NewMetrics("test", func() int { return 0 }), Holds: p.desk, Plan: noPlan})
	for _, route := range routes {
		if !described[route] {
			t.Errorf("%s is not described", route)
		}
		delete(described, route)
	}
	for route := range described {
		t.Errorf("%s is described and not there", route)
	}
	for _, path := range []string{"/healthz", "/readyz", "/v1/openapi.json"} {
		if code, _ := p.do("GET", path, path, operator(), ""); code != 200 {
			t.Errorf("GET %s: %d", path, code)
		}
	}
}
