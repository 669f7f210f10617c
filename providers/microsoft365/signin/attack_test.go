package signin_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
)

// The requester is sent to sign in for a button that somebody else pressed. What comes back is worth nothing, neither
// in the requester's browser nor, afterwards, in the other one.
func TestASignInForAButtonPressedElsewhereIsWorthNothing(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	attacker, victim := r.browser(), r.browser()
	victim.get(a.URL) // has a cookie of its own, too
	back := victim.signIn(attacker.press(a.URL, "approve"), alice, true)
	victim.get(back).shows(t, http.StatusForbidden, "Started in another browser")
	attacker.get(back).shows(t, http.StatusConflict, "Used before")
	if n := len(r.sim.Received(entra.Login, "/token")); n != 0 {
		t.Errorf("%d codes were tried", n)
	}
	if !r.isOpen(v, a) {
		t.Errorf("the question is closed")
	}
}

// The attacker has the requester's code, and carries it into a sign-in of their own.
func TestACodeIsWorthNothingInAnotherSignIn(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	attacker, victim := r.browser(), r.browser()
	stolen, err := url.Parse(victim.signIn(victim.press(a.URL, "deny"), alice, true))
	if err != nil {
		t.Fatal(err)
	}
	own, err := url.Parse(attacker.press(a.URL, "approve"))
	if err != nil {
		t.Fatal(err)
	}
	q := stolen.Query()
	q.Set("state", own.Query().Get("state"))
	stolen.RawQuery = q.Encode()
	attacker.get(stolen.String()).shows(t, http.StatusServiceUnavailable, "That did not work")
	if !r.isOpen(v, a) {
		t.Errorf("the question is closed")
	}
}

func TestAnApprovalOfOneQuestionIsNoneOfAnother(t *testing.T) {
	r := newRig(t)
	v := r.open()
	one, two := r.ask(v), r.ask(v)
	b := r.browser()
	back, err := url.Parse(b.signIn(b.press(one.URL, "approve"), alice, true))
	if err != nil {
		t.Fatal(err)
	}
	q := back.Query()
	q.Set("state", two.Transaction+strings.TrimPrefix(q.Get("state"), one.Transaction))
	forged := *back
	forged.RawQuery = q.Encode()
	b.get(forged.String()).shows(t, http.StatusNotFound, "Nothing to answer here")
	b.get(back.String()).shows(t, http.StatusOK, "Approved")
	if !r.isOpen(v, two) {
		t.Errorf("the other question is closed")
	}
}

func TestACallbackCountsOnce(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	r.sim.NextSignIn(entra.SignIn{Drop: []string{"oid"}}) // keeps the question open
	back := b.signIn(b.press(a.URL, "approve"), alice, true)
	b.get(back).shows(t, http.StatusServiceUnavailable, "That did not work")
	b.get(back).shows(t, http.StatusConflict, "Used before")
	if n := len(r.sim.Received(entra.Login, "/token")); n != 1 {
		t.Errorf("%d codes were tried, want 1", n)
	}
}

func TestOfTwoCompletionsAtOnceOneCounts(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	yes := b.signIn(b.press(a.URL, "approve"), alice, true)
	no := b.signIn(b.press(a.URL, "deny"), alice, true)
	var wg sync.WaitGroup
	pages := make([]view, 6)
	for i := range pages {
		wg.Go(func() { pages[i] = b.get([]string{yes, no}[i%2]) })
	}
	wg.Wait()
	out := r.outcome(v, a)
	title := map[providers.Verdict]string{providers.Approved: "Approved", providers.Denied: "Denied"}[out.Verdict]
	if title == "" {
		t.Fatalf("outcome = %+v; want one of the two answers", out)
	}
	for _, p := range pages {
		other := map[string]string{"Approved": "<h1>Denied</h1>", "Denied": "<h1>Approved</h1>"}[title]
		if strings.Contains(p.body, other) {
			t.Errorf("somebody was told %s, the outcome is %s", other, title)
		}
	}
	if n := len(r.sim.Received(entra.Login, "/token")); n > 2 {
		t.Errorf("%d codes were tried, want one of each at most", n)
	}
	if again := r.outcome(v, a); again.Verdict != out.Verdict {
		t.Errorf("outcome = %v, and then %v", out.Verdict, again.Verdict)
	}
}

// Who holds the link may try as often as they like: it neither fills anything nor keeps the requester out.
func TestPressesAreNotCountedAndCallbacksAre(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	noise, tired := r.browser(), r.browser()
	for range 50 {
		noise.press(a.URL, "approve")
	}
	for range 5 {
		tired.answer(a, "approve", bob).shows(t, http.StatusForbidden, "That was another account")
	}
	tired.answer(a, "approve", bob).shows(t, http.StatusTooManyRequests, "Too many attempts")
	r.browser().answer(a, "approve", alice).shows(t, http.StatusOK, "Approved")

	b := r.ask(v)
	for range 20 {
		r.browser().answer(b, "approve", bob)
	}
	before := len(r.sim.Received(entra.Login, "/token"))
	r.browser().answer(b, "approve", bob).shows(t, http.StatusTooManyRequests, "Too many attempts")
	if n := len(r.sim.Received(entra.Login, "/token")); n != before {
		t.Errorf("a code was tried beyond the limit")
	}
}

func TestOtherSitesCannotPressAButton(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	good := form(b.get(a.URL), "approve")
	other := form(r.browser().get(a.URL), "approve") // of another browser's page
	for name, tt := range map[string]struct {
		form url.Values
		edit func(*http.Request)
	}{
		"from another site":    {good, func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "cross-site") }},
		"from a neighbour":     {good, func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "same-site") }},
		"from the address bar": {good, func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "none") }},
		"said twice":           {good, func(q *http.Request) { q.Header.Add("Sec-Fetch-Site", "same-origin") }},
		"of unknown origin":    {good, func(q *http.Request) { q.Header.Del("Sec-Fetch-Site"); q.Header.Del("Origin") }},
		"of origin null":       {good, func(q *http.Request) { q.Header.Del("Sec-Fetch-Site") }},
		"of another origin": {good, func(q *http.Request) {
			q.Header.Del("Sec-Fetch-Site")
			q.Header.Set("Origin", "https://evil.example.com")
		}},
		"without a token":          {url.Values{"answer": {"approve"}}, nil},
		"with another's token":     {other, nil},
		"with two answers":         {url.Values{"token": good["token"], "answer": {"approve", "deny"}}, nil},
		"with an unknown answer":   {url.Values{"token": good["token"], "answer": {"yes"}}, nil},
		"without a form":           {good, func(q *http.Request) { q.Header.Set("Content-Type", "text/plain") }},
		"with too much":            {url.Values{"token": good["token"], "answer": {"approve"}, "more": {strings.Repeat("x", 64<<10)}}, nil},
		"with a malformed cookie":  {good, func(q *http.Request) { q.Header.Set("Cookie", "__Host-countersign-sign-in=AAAA") }},
		"with a malformed address": {good, func(q *http.Request) { q.Host = "evil.example.com" }},
	} {
		t.Run(name, func(t *testing.T) {
			p := b.post(a.URL, tt.form, tt.edit)
			if p.status < 400 || refreshShape.MatchString(p.body) {
				t.Errorf("POST = %d %s; want a refusal", p.status, p.body)
			}
		})
	}
	if p := b.post(a.URL, good, func(q *http.Request) { q.Header.Del("Sec-Fetch-Site"); q.Header.Set("Origin", ours) }); p.status != http.StatusOK {
		t.Errorf("a browser that says only its origin got %d", p.status)
	}
	if len(r.sim.Requests(entra.Login)) != 1 { // the metadata
		t.Errorf("the provider was asked: %v", r.sim.Requests(entra.Login))
	}
}

func TestScannersUseNothingUp(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	back := b.signIn(b.press(a.URL, "approve"), alice, true)
	scanner := r.browser()
	for _, address := range []string{a.URL, callback, callback + "?state=x&code=y", callback + "?error=access_denied"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
			req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			if p := scanner.do(req); method == http.MethodHead && p.body != "" {
				t.Errorf("HEAD %s has a body", address)
			}
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, back, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := b.do(req); p.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD of the callback = %d, want 405", p.status)
	}
	b.get(back).shows(t, http.StatusOK, "Approved")
}

func TestCallbacksThatAreNotOurs(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	back := b.signIn(b.press(a.URL, "approve"), alice, true)
	sent, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	state, code := sent.Query().Get("state"), "code=x"
	for name, query := range map[string]string{
		"nothing":            "",
		"no state":           code,
		"a made-up state":    code + "&state=" + a.Transaction + "." + strings.Repeat("A", 76),
		"no transaction":     code + "&state=" + strings.Repeat("A", 32) + "." + strings.Repeat("A", 76),
		"a cut state":        code + "&state=" + state[:len(state)-2],
		"a longer state":     code + "&state=" + state + "AA",
		"two states":         code + "&state=" + state + "&state=" + state,
		"two codes":          code + "&code=y&state=" + state,
		"a code and error":   code + "&error=access_denied&state=" + state,
		"neither":            "state=" + state,
		"another's issuer":   code + "&state=" + state + "&iss=https%3A%2F%2Fevil.example.com",
		"a long code":        "code=" + strings.Repeat("x", 9<<10) + "&state=" + state,
		"a malformed query":  "code=%zz&state=" + state,
		"a semicolon":        code + ";state=" + state,
		"a long query":       code + "&state=" + state + "&x=" + strings.Repeat("x", 17<<10),
		"path as a question": "/../../etc/passwd",
	} {
		p := b.get(callback + "?" + query)
		if p.status < 400 || strings.Contains(p.body, "evil") {
			t.Errorf("%s: %d %s; want a refusal that repeats nothing", name, p.status, p.body)
		}
	}
	if n := len(r.sim.Received(entra.Login, "/token")); n != 0 {
		t.Errorf("%d codes were tried", n)
	}
	b.get(back).shows(t, http.StatusOK, "Approved")
}

func TestLogsHaveNoSecrets(t *testing.T) {
	r := newRig(t)
	var log bytes.Buffer
	r.o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	r.sim.Inject(entra.Fault{Host: entra.Login, Path: "/token", Kind: entra.ServerError, Times: 1})
	backs := []string{b.signIn(b.press(a.URL, "approve"), alice, true)}
	b.get(backs[0])
	b.get(backs[0])
	b.answer(a, "approve", bob)
	backs = append(backs, b.signIn(b.press(a.URL, "approve"), alice, true))
	r.browser().get(backs[1])
	b.answer(a, "approve", alice)
	secrets := []string{entra.DefaultClientSecret, "eyJ", challenge(alice).HoldID, a.Transaction}
	u, err := url.Parse(ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.jar.Cookies(u) {
		secrets = append(secrets, c.Value)
	}
	for _, back := range backs {
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, u.Query().Get("state"), u.Query().Get("code"))
	}
	for _, s := range secrets {
		if s == "" || strings.Contains(log.String(), s) {
			t.Errorf("%q is in the log:\n%s", s, log.String())
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines < 5 || !strings.Contains(log.String(), `"hold":"3f6c0c4e"`) {
		t.Errorf("the log says too little:\n%s", log.String())
	}
}

func TestTheProvidersAddressesAreNotTakenOnTrust(t *testing.T) {
	r := newRig(t)
	for name, metadata := range map[string]string{
		"another issuer":        `{"issuer":"https://evil.example.com","authorization_endpoint":"https://x.example.com/a","token_endpoint":"https://x.example.com/t","jwks_uri":"https://x.example.com/k"}`,
		"a script for a page":   `{"issuer":"ISS","authorization_endpoint":"javascript:alert(1)","token_endpoint":"https://x.example.com/t","jwks_uri":"https://x.example.com/k"}`,
		"plain http":            `{"issuer":"ISS","authorization_endpoint":"https://x.example.com/a","token_endpoint":"http://x.example.com/t","jwks_uri":"https://x.example.com/k"}`,
		"no keys":               `{"issuer":"ISS","authorization_endpoint":"https://x.example.com/a","token_endpoint":"https://x.example.com/t"}`,
		"no JSON":               `<html>`,
		"a name in the address": `{"issuer":"ISS","authorization_endpoint":"https://user@x.example.com/a","token_endpoint":"https://x.example.com/t","jwks_uri":"https://x.example.com/k"}`,
	} {
		t.Run(name, func(t *testing.T) {
			r.sim.ClearFaults()
			r.sim.Inject(entra.Fault{
				Host: entra.Login, Path: "/openid-configuration", Kind: entra.Raw,
				Body: strings.ReplaceAll(metadata, "ISS", login+"/"+tenant+"/v2.0"),
			})
			got, err := r.open().Start(t.Context(), challenge(alice))
			if err != nil || got.Asked || got.Outcome.Verdict != providers.Unavailable {
				t.Errorf("Start = %+v, %v; want nobody asked", got, err)
			}
		})
	}
	for _, kind := range []entra.Kind{entra.Redirect, entra.Huge, entra.Cut, entra.Empty} {
		r.sim.ClearFaults()
		r.sim.Inject(entra.Fault{Host: entra.Login, Path: "/openid-configuration", Kind: kind, Body: login + "/elsewhere"})
		got, err := r.open().Start(t.Context(), challenge(alice))
		if err != nil || got.Asked || len(r.sim.Received(entra.Login, "/elsewhere")) != 0 {
			t.Errorf("fault %d: Start = %+v, %v; want nobody asked and nothing followed", kind, got, err)
		}
	}
}

func TestMetadataIsFetchedAgainAfterAFailure(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	var mu sync.Mutex
	r.o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	r.sim.Inject(entra.Fault{Host: entra.Login, Path: "/openid-configuration", Kind: entra.ServerError, Times: 1})
	v := r.open()
	asked := func() bool {
		a, err := v.Start(context.WithoutCancel(t.Context()), challenge(alice))
		return err == nil && a.Asked
	}
	first, second := asked(), asked()
	if first || second {
		t.Errorf("somebody was asked though the provider failed a moment ago")
	}
	if n := len(r.sim.Received(entra.Login, "/openid-configuration")); n != 1 {
		t.Errorf("metadata was fetched %d times at once, want 1", n)
	}
	mu.Lock()
	now = now.Add(time.Second)
	mu.Unlock()
	first, second = asked(), asked()
	if !first || !second {
		t.Errorf("nobody was asked though the provider is back")
	}
	if n := len(r.sim.Received(entra.Login, "/openid-configuration")); n != 2 {
		t.Errorf("metadata was fetched %d times, want 2", n)
	}
}
