package signin_test

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"countersign/internal/sim/entra"
	"countersign/providers"
)

func TestThePageSaysWhatIsAsked(t *testing.T) {
	r := newRig(t)
	a := r.ask(r.open())
	p := r.browser().get(a.URL)
	p.shows(t, http.StatusOK, "Did you ask for this?")
	for _, want := range []string{
		"<h2>Reset the password of carol@example.com</h2>", "<dt>Requester</dt><dd>" + alice, "<dt>Ticket</dt><dd>T-1042</dd>", "<dt>Agent</dt><dd>helpdesk-1</dd>",
		"<dt>Answer by</dt>", ">7Q4M<", "Reference 3f6c0c4e<", `<html lang="en">`, `name="viewport"`,
	} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %q: %s", want, p.body)
		}
	}
	if strings.Contains(p.body, challenge(alice).HoldID) {
		t.Errorf("the page has the whole id of the hold")
	}
}

func TestEveryPageIsClosedToOthers(t *testing.T) {
	r := newRig(t)
	a := r.ask(r.open())
	b := r.browser()
	pages := map[string]view{
		"question": b.get(a.URL), "unknown": b.get(ours + "/sign-in/" + strings.Repeat("A", 32)), "callback": b.get(callback),
		"other path": b.get(ours + "/"), "refused": b.post(a.URL, nil, nil), "sign-in": b.post(a.URL, form(b.get(a.URL), "approve"), nil),
		"misdirected": b.post(a.URL, nil, func(q *http.Request) { q.Host = "evil.example.com" }), "done": b.answer(a, "approve", alice),
	}
	for name, p := range pages {
		for header, want := range map[string]string{
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Strict-Transport-Security": "max-age=31536000", "Cross-Origin-Opener-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := p.header.Get(header); got != want {
				t.Errorf("%s: %s = %q, want %q", name, header, got, want)
			}
		}
		csp := p.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %s", name, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || regexp.MustCompile(`(?i)<script|<img|<link|<iframe| on[a-z]+=| style=`).MatchString(p.body) {
			t.Errorf("%s: the page loads or runs something: %s", name, p.body)
		}
	}
	cookie := pages["question"].header.Get("Set-Cookie")
	for _, want := range []string{"__Host-countersign-sign-in=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %s", cookie, want)
		}
	}
}

func TestOnLoopbackTheCookieNeedsNoTLS(t *testing.T) {
	r := newRig(t)
	r.o.BaseURL = "http://127.0.0.1:8443"
	a := r.ask(r.open())
	p := r.browser().get(a.URL)
	if cookie := p.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "countersign-sign-in=") || strings.Contains(cookie, "Secure") {
		t.Errorf("cookie = %q", cookie)
	}
	if p.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("plain http claims TLS")
	}
}

func TestTheHostIsOursHoweverItIsWritten(t *testing.T) {
	r := newRig(t)
	r.o.BaseURL = "https://Verify.Example.com:443/"
	v := r.open()
	a := r.ask(v)
	if !strings.HasPrefix(a.URL, ours+"/sign-in/") {
		t.Errorf("the page is at %s", a.URL)
	}
	for host, want := range map[string]int{"VERIFY.example.com": 200, "verify.example.com:443": 200, "verify.example.com:8443": 421, "verify.example.com.": 421, "127.0.0.1": 421} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		if p := r.browser().do(req); p.status != want {
			t.Errorf("Host %s: %d, want %d", host, p.status, want)
		}
	}
}

func TestHostileTextIsShownAndNotObeyed(t *testing.T) {
	r := newRig(t)
	v := r.open()
	c := challenge(alice)
	c.Title = `</h2><script>alert(1)</script>` + "\u202edrowssap\x00\r\nnext"
	c.Fields = []providers.Field{{Name: `"><form action="https://evil.example.com">`, Value: `javascript:alert(1)`}, {Name: "Long", Value: strings.Repeat("\U0001F469", 5000)}}
	for i := range 100 {
		c.Fields = append(c.Fields, providers.Field{Name: fmt.Sprint("Line ", i), Value: "x"})
	}
	c.HoldID = `"><b>hold`
	a, err := v.Start(t.Context(), c)
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	p := r.browser().get(a.URL)
	for _, bad := range []string{"<script", "evil.example.com\">", "\u202e", "\x00", "<b>hold", "Line 40"} {
		if strings.Contains(p.body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, want := range []string{"&lt;/h2&gt;&lt;script&gt;", "[shortened]", "There is more than fits on this page."} {
		if !strings.Contains(p.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if len(p.body) > 32<<10 {
		t.Errorf("the page has %d bytes", len(p.body))
	}
}

// The address comes from the provider's metadata and a name; neither may become anything but one address.
func TestTheWayToSignInIsOneAddress(t *testing.T) {
	r := newRig(t)
	r.o.Resolve = nil
	v := r.open()
	c := challenge(`kim";0;url=https://evil.example.com/<b>&prompt=none@example.com`)
	c.Person.ObjectID = aliceID
	a, err := v.Start(t.Context(), c)
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	b := r.browser()
	p := b.post(a.URL, form(b.get(a.URL), "approve"), nil)
	m := refreshShape.FindStringSubmatch(p.body)
	if m == nil || !strings.HasPrefix(html.UnescapeString(m[1]), login+"/"+tenant+"/oauth2/v2.0/authorize?") || strings.Count(p.body, "evil.example.com/<") != 0 {
		t.Errorf("the browser is sent by %v: %s", m, p.body)
	}
	b.get(html.UnescapeString(m[1]))
	if got := r.sim.Received(entra.Login, "/authorize"); len(got) != 1 || !strings.Contains(got[0].Query, "prompt=login") || strings.Contains(got[0].Query, "&prompt=none") {
		t.Errorf("the provider was asked %v", got)
	}
}
