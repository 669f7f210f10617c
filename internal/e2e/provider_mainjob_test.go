package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/entra"
	"countersign/internal/sim/traceless"
)

// way is one way of asking, chosen by configuration alone.
type way struct {
	name   string
	config func(*stage) string           // the provider, as in sidecar.yaml
	person func(s *stage, answer string) // has alice give an answer, before she is asked
	answer func(s *stage, answer string) // gives it by hand, after she was asked; nil: person did
	asked  func(*stage) int              // how often she was asked
}

// answers are what a person can do, and what becomes of the call.
var answers = []struct{ answer, code, event string }{
	{"approve", "", "hold.spent"},
	{"deny", "verification_denied", "hold.denied"},
	{"ignore", "verification_timed_out", "hold.timed_out"},
	{"fraud", "verification_fraud", "hold.fraud"},
	{"nothing enrolled", "verification_not_enrolled", "hold.not_enrolled"},
}

func ways() []way {
	return []way{
		{
			name:   "duo",
			config: func(s *stage) string { return s.duoYAML("") },
			person: func(s *stage, answer string) {
				s.duo.Add(duo.Person{Username: alice, Script: map[string]duo.Script{
					"approve": duo.Approve(), "deny": duo.Deny(), "ignore": duo.Ignore(), "fraud": duo.Fraud(), "nothing enrolled": duo.Enroll(),
				}[answer]})
			},
			asked: func(s *stage) int { return len(s.duo.Pushes()) },
		},
		{
			name:   "m365",
			config: func(s *stage) string { return s.m365YAML("push") },
			person: entraPerson,
			asked:  func(s *stage) int { return len(s.entra.PushesTo(alice)) },
		},
		{
			name:   "m365 sign_in",
			config: func(s *stage) string { return s.m365YAML("sign_in") },
			person: entraPerson,
			answer: func(s *stage, answer string) { s.answerOnPage(alice, answer) },
			asked:  pagesShown,
		},
		{
			name:   "m365 push_then_sign_in, by push",
			config: func(s *stage) string { return s.m365YAML("push_then_sign_in") },
			person: entraPerson,
			asked:  func(s *stage) int { return len(s.entra.PushesTo(alice)) + pagesShown(s) },
		},
		{
			name:   "m365 push_then_sign_in, by page",
			config: func(s *stage) string { return s.m365YAML("push_then_sign_in") },
			person: func(s *stage, answer string) {
				p := entra.Person{UPN: alice, Methods: []string{entra.Passkey}} // no push reaches her
				if answer == "nothing enrolled" {
					p.Methods = []string{}
				}
				if err := s.entra.AddPerson(p); err != nil {
					s.t.Fatal(err)
				}
			},
			answer: func(s *stage, answer string) { s.answerOnPage(alice, answer) },
			asked:  pagesShown,
		},
		{
			name:   "traceless",
			config: func(s *stage) string { return s.tracelessYAML("") },
			person: func(s *stage, answer string) {
				s.traceless.Add(alice, map[string]traceless.Script{
					"approve": traceless.Approve(), "deny": traceless.Deny(), "ignore": traceless.Ignore(), "fraud": traceless.Fraud(),
					"nothing enrolled": traceless.NotEnrolled(),
				}[answer])
			},
			asked: func(s *stage) int { return len(s.traceless.Challenges()) },
		},
	}
}

func entraPerson(s *stage, answer string) {
	p := entra.Person{UPN: alice, Script: map[string]entra.Script{
		"approve": entra.Approves(), "deny": entra.Denies(), "ignore": entra.Ignores(), "fraud": entra.ReportsFraud(),
	}[answer]}
	if answer == "nothing enrolled" {
		p.Methods = []string{}
	}
	if err := s.entra.AddPerson(p); err != nil {
		s.t.Fatal(err)
	}
}

// pagesShown counts the pages that were made for the person.
func pagesShown(s *stage) (n int) {
	for _, e := range s.sink.all() {
		if e.Type == "hold.prompted" {
			n++
		}
	}
	return n
}

// The main job, with each way of asking: an unmodified client resets a password, is held until the person answers, and
// nothing but a yes executes it, once.
func TestTheMainJobRunsWithEachProvider(t *testing.T) {
	for _, w := range ways() {
		for _, tt := range answers {
			t.Run(w.name+"/"+tt.answer, func(t *testing.T) {
				t.Parallel()
				s := rehearse(t, players{
					duo: duo.Options{Lifetime: time.Second * 2}, entra: entra.Options{PromptLifetime: 2 * time.Second},
					traceless: traceless.Options{Lifetime: 2 * time.Second},
				})
				w.person(s, tt.answer)
				verification := "verification: {budget: " + freely + "}"
				if w.answer != nil && tt.answer == "ignore" {
					verification = "verification: {timeout: 3s, budget: " + freely + "}" // a page waits for minutes by itself
				}
				name, _, _ := strings.Cut(w.name, " ")
				s.open(verification, fmt.Sprintf("providers: {%s: %s}", name, w.config(s)))
				s.play(w, tt.answer, tt.code, tt.event, name)
			})
		}
	}
}

func (s *stage) play(w way, answer, code, event, provider string) {
	t := s.t
	t.Helper()
	if a := s.do(s.client(alice), http.MethodGet, bobURL, ""); a.status != http.StatusOK {
		t.Errorf("an ordinary read = %d %s", a.status, a.body)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if w.answer != nil && answer != "ignore" && answer != "nothing enrolled" {
			w.answer(s, answer)
		}
	}()
	a := s.reset(s.client(alice))
	<-done
	if code == "" {
		if a.status != http.StatusNoContent || s.sent() != 1 {
			t.Errorf("answer = %d %s, sent %d times; want 204, once", a.status, a.body, s.sent())
		}
	} else {
		s.refused(a, code)
	}
	e := s.sink.await(t.Context(), event, 1)
	if e.Data.Requester != alice || e.Data.Ticket != "T-1042" || e.Data.Operation != "user.password.reset" {
		t.Errorf("%s tells %+v", event, e.Data)
	}
	want := 1
	if answer == "nothing enrolled" {
		want = 0
	}
	if n := w.asked(s); n > want || n < want && answer != "ignore" { // a page may not have been made when time is up
		t.Errorf("asked %d times, want %d", n, want)
	}
	s.evidenceOf(provider, code)
	s.noSecrets()
	for _, secret := range s.env {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("a secret (%.6s…) is in the log", secret)
		}
	}
}

// evidenceOf reads from the journal who approved, and by which provider.
func (s *stage) evidenceOf(provider, code string) {
	s.t.Helper()
	var redeemed []audit.Event
	for _, e := range s.journal() {
		if e.Kind == audit.Redeemed {
			redeemed = append(redeemed, e)
		}
	}
	if code != "" {
		if len(redeemed) != 0 {
			s.t.Errorf("the journal has a redemption: %+v", redeemed)
		}
		return
	}
	if len(redeemed) != 1 || redeemed[0].Evidence == nil {
		s.t.Fatalf("the journal has redemptions %+v, want one with evidence", redeemed)
	}
	got := redeemed[0].Evidence
	if got.Provider != provider || got.Transaction == "" || !strings.EqualFold(got.Approver.ID, alice) || len(got.AMR) == 0 || got.ApprovedAt.IsZero() {
		s.t.Errorf("evidence = %+v; want alice's approval by %s", got, provider)
	}
	if provider == "m365" && got.Approver.ImmutableID == "" {
		s.t.Errorf("evidence = %+v; want the immutable id of the directory", got)
	}
}

func TestAnApprovalBySignInIsForOneCall(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.open("providers: {m365: " + s.m365YAML("sign_in") + "}")
	c := s.client(alice)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.answerOnPage(alice, "approve")
	}()
	if a := s.reset(c); a.status != http.StatusNoContent {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	<-done
	for name, body := range map[string]string{"again": resetBody, "another password": strings.Replace(resetBody, password, "An0ther!", 1)} {
		if a := s.do(c, http.MethodPatch, bobURL, body, "Countersign-Wait", "0"); a.code() != "verification_pending" {
			t.Errorf("%s: %d %s, want a hold of its own", name, a.status, a.body)
		}
	}
	if s.sent() != 1 {
		t.Errorf("sent %d times, want once", s.sent())
	}
}

func TestAStrangerOnThePageApprovesNothing(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.open("providers: {m365: " + s.m365YAML("sign_in") + "}")
	a := s.reset(s.client(alice), "Countersign-Wait", "0")
	if a.code() != "verification_pending" {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	page := s.sink.await(t.Context(), "hold.prompted", 1).Data.URL
	if got := s.browser().complete(page, "approve", bob); !strings.Contains(got, "another account") {
		t.Errorf("bob's sign-in ends with %s", got)
	}
	if a := s.until(s.client(alice), "verification_pending", "Countersign-Wait", "0"); s.sent() != 0 {
		t.Errorf("answer = %d %s, sent %d times", a.status, a.body, s.sent())
	}
	s.browser().complete(page, "deny", alice)
	s.refused(s.until(s.client(alice), "verification_denied"), "verification_denied")
}
