package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/sim/duo"
)

// operator calls the control API with the operators' token.
func (s *stage) operator(method, path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.sidecar.Addr("control")+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ctlToken)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// resetTo is a reset of bob's password to the n-th one: an operation of its own.
func (s *stage) resetTo(c *http.Client, n int, header ...string) answer {
	return s.do(c, http.MethodPatch, bobURL, fmt.Sprintf(`{"passwordProfile":{"password":"%s%d"}}`, password, n), header...)
}

// await looks until it is done, or the test's own time is up.
func (s *stage) await(what string, done func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-s.t.Context().Done():
			s.t.Fatalf("still waiting for %s", what)
		}
	}
}

var tryAgain = regexp.MustCompile(`Try again after (\d\d:\d\d) UTC on (\d+ \w+ \d{4})\.`)

// againAfter reads from a refusal when the next push may be sent, and fails unless that is within d.
func (s *stage) againAfter(a answer, d time.Duration) {
	s.t.Helper()
	m := tryAgain.FindStringSubmatch(a.body)
	if m == nil {
		s.t.Errorf("the sentence does not say from when: %s", a.body)
		return
	}
	at, err := time.Parse("15:04 2 January 2006", m[1]+" "+m[2])
	if left := time.Until(at); err != nil || left < -time.Minute || left > d+time.Minute {
		s.t.Errorf("try again after %s, which is in %v; want within %v", at, left, d)
	}
}

// atOnce approves at once: what is counted here is pushes, not patience.
var atOnce = duo.Script{Result: "allow", Status: "allow"}

func TestABurstOfRequestsPushesAsOftenAsTheBudgetSays(t *testing.T) {
	t.Parallel()
	const burst, perDay = 50, 4
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice, Script: atOnce})
	s.duo.Add(duo.Person{Username: bob, Script: atOnce})
	s.open(fmt.Sprintf("verification: {budget: {interval: 0s, per_15m: 50, denials: 50, per_day: %d}}", perDay), "providers: {duo: "+s.duoYAML("")+"}")
	answers := make(chan answer, burst)
	c := s.client(alice)
	var wg sync.WaitGroup
	for n := range burst {
		wg.Go(func() {
			a, err := s.try(t.Context(), c, http.MethodPatch, bobURL, fmt.Sprintf(`{"passwordProfile":{"password":"%s%d"}}`, password, n))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	wg.Wait()
	close(answers)
	codes := map[string]int{}
	for a := range answers {
		if codes[a.code()]++; a.code() == "push_budget_exhausted" {
			s.againAfter(a, 24*time.Hour)
		}
	}
	if codes[""] != perDay || codes["push_budget_exhausted"] != burst-perDay || len(s.duo.Pushes()) != perDay || s.sent() != perDay {
		t.Errorf("answers %v, %d pushes, sent %d times; want %d approved and the rest refused", codes, len(s.duo.Pushes()), s.sent(), perDay)
	}
	if a := s.resetTo(s.client(bob), burst); a.status != http.StatusNoContent {
		t.Errorf("somebody else: %d %s", a.status, a.body)
	}
}

// Two people are asked at once; of three holds of one person, one at a time.
func TestOnePushIsPendingForEachPerson(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice})
	s.duo.Add(duo.Person{Username: dana})
	s.open("providers: {duo: " + s.duoYAML("") + "}")
	var wg sync.WaitGroup
	c := s.client(alice)
	for n := range 3 {
		wg.Go(func() {
			if a, err := s.try(t.Context(), c, http.MethodPatch, bobURL, fmt.Sprintf(`{"passwordProfile":{"password":"%s%d"}}`, password, n)); err != nil ||
				a.status != http.StatusNoContent {
				t.Errorf("alice's request %d: %d %s, %v", n, a.status, a.body, err)
			}
		})
	}
	wg.Go(func() {
		if a, err := s.try(t.Context(), s.client(dana), http.MethodPatch, bobURL, resetBody); err != nil || a.status != http.StatusNoContent {
			t.Errorf("dana's request: %d %s, %v", a.status, a.body, err)
		}
	})
	pending := func(who string) (txid string, n int) {
		for _, p := range s.duo.Pushes() {
			if p.Username == who && p.Result == "waiting" {
				txid, n = p.TxID, n+1
			}
		}
		return txid, n
	}
	s.await("a push to each of two people", func() bool {
		_, a := pending(alice)
		_, d := pending(dana)
		return a == 1 && d == 1
	})
	s.await("all four holds", func() bool {
		_, body := s.operator(http.MethodGet, "/v1/holds")
		return strings.Count(body, `"status":"pending"`) == 4
	})
	answered := 0
	s.await("alice's three pushes", func() bool {
		txid, n := pending(alice)
		if n > 1 {
			t.Errorf("%d pushes are pending for one person", n)
		}
		if n == 1 && s.duo.Answer(txid, "approve") == nil {
			answered++
		}
		return answered == 3
	})
	txid, _ := pending(dana)
	if err := s.duo.Answer(txid, "approve"); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if n := len(s.duo.Pushes()); n != 4 || s.sent() != 4 {
		t.Errorf("%d pushes, sent %d times; want 4 and 4", n, s.sent())
	}
}

func TestTwoDenialsStartACoolOff(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice, Script: duo.Script{Result: "deny", Status: "deny"}})
	s.open("verification: {budget: {interval: 0s}}", "providers: {duo: "+s.duoYAML("")+"}")
	c := s.client(alice)
	for n := range 2 {
		s.refused(s.resetTo(c, n), "verification_denied")
	}
	a := s.resetTo(c, 2)
	s.refused(a, "push_budget_exhausted")
	s.againAfter(a, 15*time.Minute)
	if !strings.Contains(a.body, "declined") {
		t.Errorf("the sentence does not say why: %s", a.body)
	}
	if n := len(s.duo.Pushes()); n != 2 {
		t.Errorf("%d pushes, want 2", n)
	}
}

func TestAfterAFraudReportAnOperatorHasToUnblock(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice, Script: duo.Script{Result: "deny", Status: "fraud"}})
	s.open("verification: {budget: {interval: 0s}}", "providers: {duo: "+s.duoYAML("")+"}")
	c := s.client(alice)
	s.refused(s.resetTo(c, 0), "verification_fraud")
	if err := s.duo.Script(alice, atOnce); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a := s.resetTo(c, 1)
		s.refused(a, "push_budget_exhausted")
		if !strings.Contains(a.body, "fraud") || !strings.Contains(a.body, "operator") || tryAgain.MatchString(a.body) {
			t.Errorf("the sentence does not say who can mend it: %s", a.body)
		}
		if err := s.stop(); err != nil { // a restart forgives nothing
			t.Fatal(err)
		}
		s.run()
		c = s.client(alice)
	}
	var blocked struct {
		People []struct{ Person, Reason, Ticket string }
	}
	if code, body := s.operator(http.MethodGet, "/v1/people"); code != http.StatusOK || json.Unmarshal([]byte(body), &blocked) != nil || len(blocked.People) != 1 ||
		blocked.People[0].Person != alice || blocked.People[0].Reason != "fraud" || blocked.People[0].Ticket != "T-1042" {
		t.Errorf("blocked = %d %s", code, body)
	}
	if code, body := s.operator(http.MethodDelete, "/v1/people/"+alice+"/block"); code != http.StatusNoContent {
		t.Fatalf("unblock = %d %s", code, body)
	}
	if a := s.resetTo(c, 1); a.status != http.StatusNoContent || len(s.duo.Pushes()) != 2 || s.sent() != 1 {
		t.Errorf("after unblocking: %d %s, %d pushes, sent %d times", a.status, a.body, len(s.duo.Pushes()), s.sent())
	}
}
