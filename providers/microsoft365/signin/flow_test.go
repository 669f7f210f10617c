package signin_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365/signin"
)

func TestAnApprovalSaysWhoWhenAndHow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v := r.open()
		a := r.ask(v)
		if !strings.HasPrefix(a.URL, ours+"/sign-in/") || len(a.Transaction) != 32 {
			t.Errorf("Start = %+v; want the address of a page", a)
		}
		time.Sleep(20 * time.Second) //nolint:forbidigo // the bubble's clock: so long the person takes
		pressed := time.Now()
		r.browser().answer(a, "approve", alice).shows(t, http.StatusOK, "Approved")
		out := r.outcome(v, a)
		if out.Verdict != providers.Approved || out.ImmutableID != tenant+"/"+aliceID || !slices.Equal(out.AMR, []string{"pwd", "mfa"}) ||
			out.Detail != "amr mfa" || !out.At.Equal(pressed) {
			t.Errorf("outcome = %+v; want Alice's approval at %v", out, pressed)
		}
	})
}

func TestWhatTheProviderIsAsked(t *testing.T) {
	r := newRig(t)
	r.o.AuthContext = "c1"
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	query := func(button string) url.Values {
		u, err := url.Parse(b.press(a.URL, button))
		if err != nil {
			t.Fatal(err)
		}
		if u.Scheme+"://"+u.Host+u.Path != login+"/"+tenant+"/oauth2/v2.0/authorize" {
			t.Errorf("the browser is sent to %s", u)
		}
		return u.Query()
	}
	q := query("approve")
	for name, want := range map[string]string{
		"response_type": "code", "response_mode": "query", "code_challenge_method": "S256", "prompt": "login", "login_hint": alice,
		"redirect_uri": callback, "client_id": entra.DefaultClientID, "scope": "openid profile",
		"claims": `{"access_token":{"acrs":{"essential":true,"value":"c1"}},"id_token":{"acrs":{"essential":true,"value":"c1"}}}`,
	} {
		if q.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, q.Get(name), want)
		}
	}
	again, no := query("approve"), query("deny")
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if q.Get(name) == "" || q.Get(name) == again.Get(name) {
			t.Errorf("%s = %q, and again the next time", name, q.Get(name))
		}
	}
	if no.Get("prompt") != "" || no.Get("claims") != "" {
		t.Errorf("a denial asks for %v; want a session to be enough", no)
	}
}

func TestANoNeedsNoSecondFactor(t *testing.T) {
	for button, want := range map[string]providers.Verdict{"deny": providers.Denied, "report": providers.Fraud} {
		t.Run(button, func(t *testing.T) {
			r := newRig(t)
			r.o.AuthContext = "c1"
			v := r.open()
			a := r.ask(v)
			r.sim.NextSignIn(entra.SignIn{AuthAge: time.Hour, AMR: []string{"pwd"}})
			r.browser().answer(a, button, alice)
			if out := r.outcome(v, a); out.Verdict != want || len(out.AMR) != 0 {
				t.Errorf("outcome = %+v; want %v", out, want)
			}
		})
	}
}

func TestAnAuthenticationContextProvesTheSecondFactor(t *testing.T) {
	r := newRig(t)
	r.o.AuthContext, r.o.PhishingResistant = "c1", true
	v := r.open()
	if !slices.Equal(v.Capabilities(), []string{"text", "phishing_resistant"}) {
		t.Errorf("Capabilities = %v", v.Capabilities())
	}
	a := r.ask(v)
	r.sim.NextSignIn(entra.SignIn{Drop: []string{"amr"}}) // as Microsoft's v2.0 tokens are
	r.browser().answer(a, "approve", alice).shows(t, http.StatusOK, "Approved")
	if out := r.outcome(v, a); out.Verdict != providers.Approved || out.Detail != "acrs c1" || !slices.Equal(out.AMR, []string{"mfa"}) {
		t.Errorf("outcome = %+v; want an approval by acrs", out)
	}
}

// The browser may leave prompt and claims out of the address that it is sent to, and come back with a token that is
// genuine in every other respect.
func TestWhatIsMissingOrWeakIsNoProof(t *testing.T) {
	r := newRig(t)
	for name, tt := range map[string]struct {
		in      entra.SignIn
		context string
		detail  string
	}{
		"no amr":                   {entra.SignIn{Drop: []string{"amr"}}, "", "id token has no amr"},
		"amr without mfa":          {entra.SignIn{AMR: []string{"pwd"}}, "", "amr does not contain mfa"},
		"amr of one string":        {entra.SignIn{Set: map[string]any{"amr": "pwd"}}, "", "amr does not contain mfa"},
		"no acrs though asked for": {entra.SignIn{Drop: []string{"acrs"}}, "c1", "id token has no acrs"},
		"another acrs":             {entra.SignIn{ACRS: []string{"c2", "c10"}}, "c1", "acrs does not contain c1"},
		"mfa instead of acrs":      {entra.SignIn{Set: map[string]any{"acrs": []string{}}, AMR: []string{"mfa"}}, "c1", "id token has no acrs"},
		"no auth_time":             {entra.SignIn{Drop: []string{"auth_time"}}, "", "id token has no auth_time"},
		"an old sign-in":           {entra.SignIn{AuthAge: time.Hour}, "", "auth_time is before the button was pressed"},
		"a sign-in to come":        {entra.SignIn{AuthAge: -time.Hour}, "", "auth_time is in the future"},
	} {
		t.Run(name, func(t *testing.T) {
			r.o.AuthContext = tt.context
			v := r.open()
			a := r.ask(v)
			r.sim.NextSignIn(tt.in)
			r.browser().answer(a, "approve", alice).shows(t, http.StatusForbidden, "Not approved")
			if out := r.outcome(v, a); out.Verdict != providers.Unavailable || out.Detail != tt.detail || len(out.AMR) != 0 {
				t.Errorf("outcome = %+v; want unavailable, %q", out, tt.detail)
			}
		})
	}
}

// None of these tokens says that it is the person, so none ends the question.
func TestATokenThatIsNotThePersonsDecidesNothing(t *testing.T) {
	other := "99999999-aaaa-4bbb-8ccc-000000000009"
	r := newRig(t)
	v := r.open()
	for name, in := range map[string]entra.SignIn{
		"unsigned":               {Sign: entra.None},
		"HS256 by public key":    {Sign: entra.HMAC},
		"another key":            {Sign: entra.WrongKey},
		"an unlisted key":        {Sign: entra.Unlisted},
		"changed after signing":  {Sign: entra.Broken},
		"another issuer":         {Issuer: "https://evil.example.com/v2.0"},
		"another tenant":         {TenantID: other},
		"another audience":       {Audience: other},
		"two audiences":          {Set: map[string]any{"aud": []string{entra.DefaultClientID, other}}},
		"another party":          {Set: map[string]any{"azp": other}},
		"another nonce":          {Nonce: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
		"no nonce":               {Nonce: "-"},
		"expired":                {Expired: true},
		"not valid yet":          {Future: true},
		"no tid":                 {Drop: []string{"tid"}},
		"no oid":                 {Drop: []string{"oid"}},
		"a list for an oid":      {Set: map[string]any{"oid": []string{aliceID}}},
		"an auth_time in quotes": {Set: map[string]any{"auth_time": "4102444800"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.ask(v)
			b := r.browser()
			for _, button := range []string{"approve", "deny"} {
				r.sim.NextSignIn(in)
				b.answer(a, button, alice).shows(t, http.StatusServiceUnavailable, "That did not work")
			}
			if !r.isOpen(v, a) {
				t.Errorf("the question is closed")
			}
			b.answer(a, "approve", alice).shows(t, http.StatusOK, "Approved")
		})
	}
}

func TestSomebodyElseCanNeitherAnswerNorEndIt(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	stranger := r.browser()
	for _, button := range []string{"approve", "deny", "report"} {
		p := stranger.answer(a, button, bob)
		p.shows(t, http.StatusForbidden, "That was another account")
		if strings.Contains(p.body, alice) || strings.Contains(p.body, bob) {
			t.Errorf("the page names somebody: %s", p.body)
		}
	}
	// The same oid in another tenant is somebody else too.
	r.sim.NextSignIn(entra.SignIn{Set: map[string]any{"tid": bobID}})
	stranger.answer(a, "approve", alice).shows(t, http.StatusForbidden, "That was another account")
	r.browser().answer(a, "approve", alice).shows(t, http.StatusOK, "Approved")
	if out := r.outcome(v, a); out.Verdict != providers.Approved || out.ImmutableID != tenant+"/"+aliceID {
		t.Errorf("outcome = %+v; want Alice's approval", out)
	}
}

func TestWhoIsAskedIsNamedByAnImmutableID(t *testing.T) {
	r := newRig(t)
	r.o.Resolve = nil
	v := r.open()
	c := challenge(alice)
	for name, tt := range map[string]struct {
		person providers.Person
		asked  bool
		detail string
	}{
		"by name alone":     {providers.Person{ID: alice}, false, "no immutable id"},
		"with an oid":       {providers.Person{ID: alice, ObjectID: strings.ToUpper(aliceID)}, true, ""},
		"with both":         {providers.Person{ID: alice, ObjectID: aliceID, TenantID: tenant}, true, ""},
		"of another tenant": {providers.Person{ID: alice, ObjectID: aliceID, TenantID: bobID}, false, "person of another tenant"},
		"by no GUID":        {providers.Person{ID: alice, ObjectID: "alice"}, false, "no immutable id"},
		"by nothing":        {providers.Person{ObjectID: aliceID}, false, "nobody named"},
	} {
		c.Person = tt.person
		got, err := v.Start(t.Context(), c)
		if err != nil || got.Asked != tt.asked || got.Outcome.Detail != tt.detail {
			t.Errorf("%s: Start = %+v, %v; want asked %v, %q", name, got, err, tt.asked, tt.detail)
		}
	}
	r.o.Resolve = func(context.Context, providers.Person) (providers.Person, error) {
		return providers.Person{}, errors.New("directory away")
	}
	if got, err := r.open().Start(t.Context(), challenge(alice)); err != nil || got.Asked || got.Outcome.Detail != "person not resolved" {
		t.Errorf("Start = %+v, %v; want nobody asked", got, err)
	}
}

func TestAnyReplicaServesAnyStep(t *testing.T) {
	r := newRig(t)
	one := r.open()
	two := r.open()
	r.serve(one)
	a := r.ask(two)
	b := r.browser()
	back := b.signIn(b.press(a.URL, "approve"), alice, true)
	r.serve(two)
	b.get(back).shows(t, http.StatusOK, "Approved")
	for _, v := range []*signin.Verifier{one, two, r.open()} {
		if out := r.outcome(v, a); out.Verdict != providers.Approved {
			t.Errorf("outcome = %+v; want approved everywhere", out)
		}
	}
}

func TestAPersonMayTryAgainAfterCancelling(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	r.sim.NextSignIn(entra.SignIn{Error: "access_denied"})
	b.answer(a, "approve", alice).shows(t, http.StatusOK, "You did not sign in")
	r.sim.NextSignIn(entra.SignIn{Error: "temporarily_unavailable"})
	b.answer(a, "approve", alice).shows(t, http.StatusServiceUnavailable, "That did not work")
	if !r.isOpen(v, a) {
		t.Errorf("the question is closed")
	}
	b.answer(a, "approve", alice).shows(t, http.StatusOK, "Approved")
}

// The code is used up by then: the answer must not be lost with the browser's patience.
func TestAnAnswerCountsThoughTheBrowserLeaves(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	r.sim.Inject(entra.Fault{Host: entra.Login, Path: "/token", Kind: entra.Rewritten, Rewrite: func(body []byte) []byte {
		leave()
		return body
	}})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.signIn(b.press(a.URL, "approve"), alice, true), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := b.client.Do(req); err == nil {
		resp.Body.Close()
	}
	if out := r.outcome(v, a); out.Verdict != providers.Approved {
		t.Errorf("outcome = %+v; want approved", out)
	}
}

// Somebody who can set a cookie for our name could add theirs to the browser's own.
func TestTwoCookiesAreNone(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	back := b.signIn(b.press(a.URL, "approve"), alice, true)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, back, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.jar.Cookies(req.URL) {
		req.AddCookie(c) // and the jar's
	}
	b.do(req).shows(t, http.StatusForbidden, "Started in another browser")
	if !r.isOpen(v, a) {
		t.Errorf("the question is closed")
	}
}

func TestAQuestionThatWasTakenBackCannotBeAnswered(t *testing.T) {
	r := newRig(t)
	v := r.open()
	a := r.ask(v)
	b := r.browser()
	back := b.signIn(b.press(a.URL, "approve"), alice, true)
	for range 2 {
		if err := v.Cancel(t.Context(), a.Transaction); err != nil {
			t.Errorf("Cancel = %v", err)
		}
	}
	b.get(back).shows(t, http.StatusGone, "Withdrawn")
	b.get(a.URL).shows(t, http.StatusGone, "Withdrawn")
	if out := r.outcome(v, a); out.Verdict != providers.Unavailable || out.Detail != "withdrawn" {
		t.Errorf("outcome = %+v; want withdrawn", out)
	}
}

func TestASignInMustBeForThisPressOfTheButton(t *testing.T) {
	for age, want := range map[time.Duration]providers.Verdict{
		5 * time.Second: providers.Approved, 6 * time.Second: providers.Unavailable, // clocks differ a little
		-5 * time.Second: providers.Approved, -6 * time.Second: providers.Unavailable,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			v := r.open()
			a := r.ask(v)
			time.Sleep(30 * time.Second) //nolint:forbidigo // the bubble's clock: the question is older than the press
			r.sim.NextSignIn(entra.SignIn{AuthAge: age})
			r.browser().answer(a, "approve", alice)
			out := r.outcome(v, a)
			if out.Verdict != want || out.At.After(time.Now()) {
				t.Errorf("sign-in %v before the press: outcome = %+v; want %v", age, out, want)
			}
		})
	}
}

func TestTimeIsOverForASignInThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v := r.open()
		a := r.ask(v)
		b := r.browser()
		back := b.signIn(b.press(a.URL, "approve"), alice, true)
		time.Sleep(v.Limit()) //nolint:forbidigo // the bubble's clock
		b.get(back).shows(t, http.StatusGone, "Too late")
		if n := len(r.sim.Received(entra.Login, "/token")); n != 0 {
			t.Errorf("%d codes were tried", n)
		}
		if out := r.outcome(v, a); out.Verdict != providers.TimedOut || out.Detail != "no answer" {
			t.Errorf("outcome = %+v; want timed out", out)
		}
	})
}

func TestCheckFindsWrongCredentials(t *testing.T) {
	r := newRig(t)
	if err := r.open().Check(t.Context()); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
	r.o.ClientSecret = "wrong"
	if err := r.open().Check(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_client (AADSTS7000215)") {
		t.Errorf("Check = %v, want invalid_client", err)
	}
}
