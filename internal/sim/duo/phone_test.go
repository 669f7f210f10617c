package duo_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/sim/duo"
)

func phone(t *testing.T) (*duo.Server, *httptest.Server) {
	t.Helper()
	s := start(t, duo.Options{}, duo.Ignore())
	s.Add(duo.Person{Username: "bob@example.com"})
	web := httptest.NewServer(s.Phone())
	t.Cleanup(web.Close)
	return s, web
}

func fetch(t *testing.T, web *httptest.Server, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := web.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func pushTo(t *testing.T, s *duo.Server, who string) string {
	t.Helper()
	_, e := call(t, s, http.MethodPost, "/auth/v2/auth", url.Values{"username": {who}, "factor": {"push"}, "device": {"auto"},
		"async": {"1"}, "type": {"Reset"}, "pushinfo": {"to=%3Cscript%3E"}})
	txid, _ := e.Response["txid"].(string)
	return txid
}

const asJSON = "application/json"

func TestThePhoneAnswersAPush(t *testing.T) {
	for answer, want := range map[string]string{"approve": "allow/allow", "deny": "deny/deny", "fraud": "deny/fraud"} {
		s, web := phone(t)
		txid := pushTo(t, s, alice)
		body := `{"txid":"` + txid + `","answer":"` + answer + `"}`
		if resp, text := fetch(t, web, http.MethodPost, "/answer", body, "Content-Type", asJSON, "Origin", web.URL, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 204 {
			t.Errorf("%s: HTTP %d %s", answer, resp.StatusCode, text)
		}
		if p := s.Pushes()[0]; p.Result+"/"+p.Status != want {
			t.Errorf("%s: push is %s/%s, want %s", answer, p.Result, p.Status, want)
		}
		if resp, _ := fetch(t, web, http.MethodPost, "/answer", body, "Content-Type", asJSON); resp.StatusCode != 409 {
			t.Errorf("%s again: HTTP %d, want 409", answer, resp.StatusCode)
		}
	}
}

func TestThePhoneTakesNoAnswerFromElsewhere(t *testing.T) {
	s, web := phone(t)
	txid := pushTo(t, s, alice)
	good := `{"txid":"` + txid + `","answer":"approve"}`
	for name, c := range map[string]struct {
		method, body string
		header       []string
	}{
		"another origin":     {http.MethodPost, good, []string{"Content-Type", asJSON, "Origin", "https://evil.example"}},
		"a cross-site fetch": {http.MethodPost, good, []string{"Content-Type", asJSON, "Sec-Fetch-Site", "cross-site"}},
		"a sandboxed frame":  {http.MethodPost, good, []string{"Content-Type", asJSON, "Origin", "null"}},
		"a form":             {http.MethodPost, "txid=" + txid + "&answer=approve", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		"JSON sent as text":  {http.MethodPost, good, []string{"Content-Type", "text/plain"}},
		"a link":             {http.MethodGet, "", nil},
		"an unknown answer":  {http.MethodPost, `{"txid":"` + txid + `","answer":"maybe"}`, []string{"Content-Type", asJSON}},
		"an unknown push":    {http.MethodPost, `{"txid":"x","answer":"approve"}`, []string{"Content-Type", asJSON}},
		"something else":     {http.MethodPost, "approve", []string{"Content-Type", asJSON}},
		"far too much of it": {http.MethodPost, `{"txid":"` + strings.Repeat("x", 10000), []string{"Content-Type", asJSON}},
	} {
		if resp, _ := fetch(t, web, c.method, "/answer", c.body, c.header...); resp.StatusCode < 400 {
			t.Errorf("%s: HTTP %d, want a refusal", name, resp.StatusCode)
		}
	}
	if p := s.Pushes()[0]; p.Result != "waiting" {
		t.Errorf("push is %s/%s, want it waiting", p.Result, p.Status)
	}
}

func TestThePhoneShowsOnePersonOrAll(t *testing.T) {
	s, web := phone(t)
	pushTo(t, s, alice)
	pushTo(t, s, "bob@example.com")
	for query, want := range map[string]int{"": 2, "?person=ALICE@example.com": 1, "?person=eve": 0} {
		_, body := fetch(t, web, http.MethodGet, "/pushes"+query, "")
		var v struct{ Pushes []duo.Push }
		if err := json.Unmarshal([]byte(body), &v); err != nil || len(v.Pushes) != want {
			t.Errorf("pushes%s = %s, %v; want %d", query, body, err, want)
		}
	}
}

func TestThePhoneIsToldOfEachChange(t *testing.T) {
	s, web := phone(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL+"/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := web.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	next := func() (v struct{ Pushes []duo.Push }) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &v); err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return v
	}
	if v := next(); len(v.Pushes) != 0 {
		t.Errorf("first event = %+v, want nothing", v)
	}
	txid := pushTo(t, s, alice)
	if v := next(); len(v.Pushes) != 1 || v.Pushes[0].TxID != txid || v.Pushes[0].Result != "waiting" {
		t.Errorf("event after the push = %+v", v)
	}
	if err := s.Answer(txid, "deny"); err != nil {
		t.Fatal(err)
	}
	if v := next(); len(v.Pushes) != 1 || v.Pushes[0].Status != "deny" {
		t.Errorf("event after the answer = %+v", v)
	}
}

func TestThePageLoadsNothingAndRunsOnlyItsOwnScript(t *testing.T) {
	_, web := phone(t)
	resp, first := fetch(t, web, http.MethodGet, "/", "")
	if m := regexp.MustCompile(`(?i)(src|href)="(https?:)?//`).FindString(first); m != "" || resp.StatusCode != 200 {
		t.Errorf("HTTP %d, the page loads %q", resp.StatusCode, m)
	}
	policy := resp.Header.Get("Content-Security-Policy")
	nonce := regexp.MustCompile(`'nonce-([A-Z0-9]+)'`).FindStringSubmatch(policy)
	if !strings.Contains(policy, "default-src 'none'") || len(nonce) != 2 || !strings.Contains(first, `<script nonce="`+nonce[1]+`">`) {
		t.Errorf("policy = %q, want a nonce that is the script's", policy)
	}
	if _, second := fetch(t, web, http.MethodGet, "/", ""); second == first {
		t.Error("the nonce was used twice")
	}
	if strings.Contains(first, " on"+"click") || strings.Contains(first, "{{") {
		t.Error("the page has inline handlers or unfilled places")
	}
}

func TestThePhoneAsksForTheCodeOfAVerifiedPush(t *testing.T) {
	s, web := phone(t)
	if err := s.Script(alice, duo.Script{VerifiedPush: true}); err != nil {
		t.Fatal(err)
	}
	_, pre := call(t, s, http.MethodPost, "/auth/v2/preauth", url.Values{"username": {alice}, "client_supports_verified_push": {"1"}})
	code, _ := pre.Response["verification_code"].(string)
	given, _ := pre.Response["txid"].(string)
	_, e := call(t, s, http.MethodPost, "/auth/v2/auth", url.Values{"username": {alice}, "factor": {"push"}, "device": {"auto"}, "async": {"1"}, "txid": {given}})
	txid, _ := e.Response["txid"].(string)
	if _, text := fetch(t, web, http.MethodGet, "/pushes", ""); !strings.Contains(text, `"verified":true`) || strings.Contains(text, code) {
		t.Errorf("the phone shows %s, want a verified push without its code", text)
	}
	for _, typed := range []string{"", "1"} {
		body := `{"txid":"` + txid + `","answer":"approve","code":"` + typed + `"}`
		if resp, _ := fetch(t, web, http.MethodPost, "/answer", body, "Content-Type", asJSON); resp.StatusCode != http.StatusForbidden {
			t.Errorf("approved with %q: HTTP %d, want 403", typed, resp.StatusCode)
		}
	}
	body := `{"txid":"` + txid + `","answer":"approve","code":" ` + code + ` "}`
	if resp, text := fetch(t, web, http.MethodPost, "/answer", body, "Content-Type", asJSON); resp.StatusCode != 204 || s.Pushes()[0].Result != "allow" {
		t.Errorf("approved with the code: HTTP %d %s", resp.StatusCode, text)
	}
}
