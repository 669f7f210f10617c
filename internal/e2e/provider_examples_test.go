package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"countersign/internal/requester"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/entra"
	"countersign/internal/sim/traceless"
)

// openExample starts the sidecar on an example's own file. Ports become free ones; upstream and what standIns says (after a
// line, more lines) are put in, so that simulators stand in for the services.
func (s *stage) openExample(name string, standIns map[string]string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "examples", name, "sidecar.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(b)
	for _, port := range []string{"8080", "8081", "9090", "8443"} {
		text = strings.Replace(text, "127.0.0.1:"+port, "127.0.0.1:0", 1)
	}
	for line, more := range standIns {
		if !strings.Contains(text, line) {
			s.t.Fatalf("the example has no line %q", line)
		}
		text = strings.Replace(text, line, more, 1)
	}
	s.env["CONTROL_TOKEN"], s.env["WEBHOOK_URL"], s.env["WEBHOOK_SECRET"] = ctlToken, s.sink.url+"/webhook", sinkSecret
	s.open(text)
}

func TestTheExampleMicrosoft365Works(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.env["M365_TENANT_ID"], s.env["M365_CLIENT_ID"] = entra.DefaultTenant, entra.DefaultClientID
	s.env["M365_CLIENT_SECRET"], s.env["M365_CONNECTOR_SECRET"] = entra.DefaultClientSecret, connectorSecret
	s.openExample("microsoft365", map[string]string{
		"    type: microsoft365\n": "    type: microsoft365\n    root_cas: entra-ca.pem\n    urls: {login: \"" + s.entraURL + "\", graph: \"" + s.entraURL +
			"\", connector: \"" + s.entraURL + "\"}\n",
		"  external_url: ${env:EXTERNAL_URL}": "  external_url: \"\"", // the port is known too late
		"verification:\n":                     "verification:\n  budget: " + freely + "\n",
	})
	for _, tt := range []struct {
		who    string
		person entra.Person
		code   string
	}{
		{alice, entra.Person{Script: entra.Approves()}, ""},
		{"dave@contoso.com", entra.Person{Script: entra.Denies()}, "verification_denied"},
		{"none@contoso.com", entra.Person{Methods: []string{}}, "verification_not_enrolled"},
	} {
		tt.person.UPN = tt.who
		if err := s.entra.AddPerson(tt.person); err != nil {
			t.Fatal(err)
		}
		if a := s.reset(s.client(tt.who)); a.code() != tt.code {
			t.Errorf("%s: %d %s, want %q", tt.who, a.status, a.body, tt.code)
		}
	}
	if err := s.entra.AddPerson(entra.Person{UPN: alice, Methods: []string{entra.Passkey}}); err != nil { // no push any more
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.answerOnPage(alice, "approve") })
	if a := s.reset(s.client(alice)); a.status != http.StatusNoContent || s.sent() != 2 {
		t.Errorf("by page: %d %s, sent %d times", a.status, a.body, s.sent())
	}
	wg.Wait()
	if e := s.sink.await(t.Context(), "escalation.requested", 1); e.Data.Requester != "none@contoso.com" {
		t.Errorf("escalated: %s", e.raw)
	}
}

func TestTheExampleTracelessWorks(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.env["TRACELESS_ENDPOINT"], s.env["TRACELESS_ORGANIZATION"] = s.traceless.Endpoint(), s.traceless.Organization()
	s.openExample("traceless", map[string]string{"    type: traceless\n": "    type: traceless\n    root_cas: traceless-ca.pem\n"})
	for _, tt := range []struct {
		who    string
		script traceless.Script
		code   string
	}{
		{alice, traceless.Approve(), ""},
		{"dave@contoso.com", traceless.Deny(), "verification_denied"},
		{"none@contoso.com", traceless.NotEnrolled(), "verification_not_enrolled"},
	} {
		s.traceless.Add(tt.who, tt.script)
		if a := s.reset(s.client(tt.who)); a.code() != tt.code {
			t.Errorf("%s: %d %s, want %q", tt.who, a.status, a.body, tt.code)
		}
	}
	if e := s.sink.await(t.Context(), "escalation.requested", 1); e.Data.Requester != "none@contoso.com" || s.sent() != 1 {
		t.Errorf("escalated: %s, sent %d times", e.raw, s.sent())
	}
}

func TestTheExampleNotifyWorks(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	posted := make(chan string, 100) // method, path and body of what Slack, Teams and Zendesk get
	server := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		user, _, _ := r.BasicAuth()
		posted <- r.Method + " " + r.URL.Path + " " + user + " " + string(body)
	})
	for name, value := range map[string]string{
		"DUO_HOST": s.duo.Host(), "DUO_INTEGRATION_KEY": s.duo.IntegrationKey(), "DUO_SECRET_KEY": s.duo.SecretKey(),
		"SLACK_WEBHOOK_URL": server + "/slack", "TEAMS_WEBHOOK_URL": server + "/teams", "ZENDESK_TICKET_URL": server + "/api/v2/tickets/{ticket}.json",
		"ZENDESK_USERNAME": "svc@contoso.com/token", "ZENDESK_TOKEN": "zd-token",
	} {
		s.env[name] = value
	}
	s.duo.Add(duo.Person{Username: alice, Script: duo.Enroll()})
	s.duo.Add(duo.Person{Username: bob, Script: duo.Deny()})
	s.openExample("notify", map[string]string{"    type: duo\n": "    type: duo\n    root_cas: duo-ca.pem\n"})
	for who, code := range map[string]string{alice: "verification_not_enrolled", bob: "verification_denied"} {
		jwt, err := requester.Mint(requester.MintOptions{Key: s.key, Issuer: issuer, Audience: "countersign", Subject: who, Ticket: "1042"}) // Zendesk's are numbers
		if err != nil {
			t.Fatal(err)
		}
		s.refused(s.reset(s.client(""), "Countersign-Assertion", jwt), code)
	}
	s.sink.await(t.Context(), "escalation.requested", 1)
	s.sink.await(t.Context(), "hold.denied", 1)
	const note = "PUT /api/v2/tickets/1042.json svc@contoso.com/token "
	missing := map[string][2]string{
		"Slack": {"POST /slack ", alice}, "Teams": {"POST /teams ", alice},
		"the technicians' note": {note, `"public":false`}, "the employee's note": {note, "declined"},
	}
	for len(missing) > 0 {
		select {
		case p := <-posted:
			for name, want := range missing {
				if strings.HasPrefix(p, want[0]) && strings.Contains(p, want[1]) {
					delete(missing, name)
				}
			}
			if strings.Contains(p, `"public":true`) && strings.Contains(p, "echnician") {
				t.Errorf("the employee is told what is for technicians: %s", p)
			}
		case <-t.Context().Done():
			t.Fatalf("never posted: %v", missing)
		}
	}
}
