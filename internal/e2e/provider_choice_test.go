package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/duo"
	"countersign/internal/sim/entra"
	"countersign/internal/sim/traceless"
)

const dana = "dana@fabrikam.com"

// secondDuo is another Duo account, with its section of sidecar.yaml.
func (s *stage) secondDuo(more string) (*duo.Server, string) {
	s.t.Helper()
	second, err := duo.Start(duo.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = second.Close() }) // a simulator has nothing to lose
	s.write("duo-2-ca.pem", second.CertPEM())
	s.env["DUO_2_SKEY"] = second.SecretKey()
	return second, fmt.Sprintf(`{type: duo, host: "%s", integration_key: "%s", secret_key: "${env:DUO_2_SKEY}", root_cas: duo-2-ca.pem%s}`,
		second.Host(), second.IntegrationKey(), more)
}

func TestEachDomainHasItsOwnDuoAccount(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	second, fabrikam := s.secondDuo(", domains: [fabrikam.com]")
	for _, who := range []string{alice, dana} { // each account knows both: only the configuration keeps them apart
		s.duo.Add(duo.Person{Username: who, Script: duo.Approve()})
		second.Add(duo.Person{Username: who, Script: duo.Approve()})
	}
	s.open("providers: {contoso: " + s.duoYAML(", domains: [contoso.com]") + ", fabrikam: " + fabrikam + "}")
	for _, who := range []string{alice, dana} {
		if a := s.reset(s.client(who)); a.status != http.StatusNoContent {
			t.Errorf("%s: %d %s", who, a.status, a.body)
		}
	}
	if a := s.reset(s.client("eve@contoso.com.evil.example")); a.code() != "verification_not_enrolled" {
		t.Errorf("somebody of no domain: %d %s", a.status, a.body)
	}
	for name, tt := range map[string]struct {
		account *duo.Server
		who     string
	}{"contoso": {s.duo, alice}, "fabrikam": {second, dana}} {
		if p := tt.account.Pushes(); len(p) != 1 || p[0].Username != tt.who {
			t.Errorf("%s pushed %+v, want %s alone", name, p, tt.who)
		}
	}
	if s.sent() != 2 {
		t.Errorf("sent %d times, want 2", s.sent())
	}
}

// The next provider is asked only where it is certain that the first asked nobody, and never to get another answer.
func TestTheNextProviderIsAskedOnlyWhereTheFirstAskedNobody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  duo.Script
		code   string
		second int
	}{
		{"not enrolled", duo.Enroll(), "", 1},
		{"down before it asked", duo.Script{Faults: []duo.Fault{{Path: "/auth/v2/preauth", Kind: duo.ServerError}}}, "", 1},
		{"locked out", duo.Refused(), "verification_locked_out", 0},
		{"denied", duo.Deny(), "verification_denied", 0},
		{"reported", duo.Fraud(), "verification_fraud", 0},
		{"not answered", duo.Ignore(), "verification_timed_out", 0},
		{"a push that may have been sent", duo.Script{Faults: []duo.Fault{{Path: "/auth/v2/auth", Kind: duo.Reset}}}, "verification_unavailable", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := rehearse(t, players{duo: duo.Options{Lifetime: 2 * time.Second}})
			s.duo.Add(duo.Person{Username: alice, Script: tt.first})
			s.traceless.Add(alice, traceless.Approve())
			s.open("verification: {providers: [duo, traceless], budget: "+freely+"}",
				"providers: {traceless: "+s.tracelessYAML("")+", duo: "+s.duoYAML("")+"}")
			a := s.reset(s.client(alice))
			if tt.code == "" {
				if a.status != http.StatusNoContent || s.sent() != 1 {
					t.Errorf("answer = %d %s, sent %d times", a.status, a.body, s.sent())
				}
				s.evidenceOf("traceless", "")
			} else {
				s.refused(a, tt.code)
			}
			if n := len(s.traceless.Challenges()); n != tt.second {
				t.Errorf("the second provider asked %d times, want %d", n, tt.second)
			}
		})
	}
}

const (
	aliceFactors = "https://graph.microsoft.com/v1.0/users/" + alice + "/authentication/"
	bobFactors   = "https://graph.microsoft.com/v1.0/users/" + bob + "/authentication/"
	newPhone     = `{"phoneNumber":"+1 2065555555","phoneType":"mobile"}`
)

// Whoever holds the requester's phone must not confirm its replacement with it.
func TestAFactorDoesNotConfirmItsOwnChange(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	if err := s.entra.Script(alice, entra.Approves()); err != nil {
		t.Fatal(err)
	}
	s.open("providers: {m365: " + s.m365YAML("push") + "}")
	c := s.client(alice)
	for _, path := range []string{"phoneMethods", "temporaryAccessPassMethods"} {
		a := s.do(c, http.MethodPost, aliceFactors+path, newPhone)
		s.refused(a, "verification_not_enrolled")
		if !strings.Contains(a.body, "A technician has to do it") {
			t.Errorf("%s: %s", path, a.body)
		}
	}
	if e := s.sink.await(t.Context(), "escalation.requested", 2); e.Data.Requester != alice || !strings.Contains(e.Data.Reason, "factor") {
		t.Errorf("the technician is told %s", e.raw)
	}
	if n := len(s.entra.Pushes()); n != 0 {
		t.Fatalf("%d pushes were sent", n)
	}
	// Somebody else's factor is another matter.
	if a := s.do(c, http.MethodPost, bobFactors+"phoneMethods", newPhone); a.code() != "" || len(s.entra.PushesTo(alice)) != 1 {
		t.Errorf("bob's phone: %d %s, %d pushes", a.status, a.body, len(s.entra.PushesTo(alice)))
	}
}

func TestAChangeOfTheOwnFactorIsConfirmedByAnotherOne(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	s.open("verification: {providers: [m365, duo], budget: "+freely+"}",
		"providers: {m365: "+s.m365YAML("push")+", duo: "+s.duoYAML("")+"}")
	a := s.do(s.client(alice), http.MethodPost, aliceFactors+"phoneMethods", newPhone)
	if a.code() != "" || len(s.duo.Pushes()) != 1 || len(s.entra.Pushes()) != 0 {
		t.Errorf("answer = %d %s, %d pushes by Duo and %d by Microsoft; want one by Duo", a.status, a.body, len(s.duo.Pushes()), len(s.entra.Pushes()))
	}
}

func TestTheTableOfUsersSaysWhoIsAsked(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	for _, who := range []string{"asmith", alice, bob, "carol@contoso.com"} {
		s.duo.Add(duo.Person{Username: who, Script: duo.Approve()})
	}
	s.open("providers: {duo: " + s.duoYAML(`, users: {Alice@Contoso.com: asmith, carol@contoso.com: ""}`) + "}")
	for _, who := range []string{alice, bob} {
		if a := s.reset(s.client(who)); a.status != http.StatusNoContent {
			t.Errorf("%s: %d %s", who, a.status, a.body)
		}
	}
	if a := s.reset(s.client("carol@contoso.com")); a.code() != "verification_not_enrolled" {
		t.Errorf("who is in the table with nobody: %d %s", a.status, a.body)
	}
	p := s.duo.Pushes()
	if len(p) != 2 || p[0].Username != "asmith" || p[1].Username != bob {
		t.Errorf("pushes = %+v, want asmith and bob", p)
	}
}
