package signin_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365/signin"
	"countersign/providers/providertest"
)

const (
	ours     = "https://verify.example.com"
	callback = ours + "/sign-in/callback"
	login    = "http://localhost"
	alice    = providertest.Alice
	bob      = providertest.Bob
	aliceID  = "aaaaaaaa-0000-4000-8000-000000000001"
	bobID    = "bbbbbbbb-0000-4000-8000-000000000002"
	tenant   = entra.DefaultTenant
)

// rig is the provider between a simulated directory and browsers, on a network in memory.
type rig struct {
	*testing.T
	sim   *entra.Server
	net   *providertest.Listener
	store signin.Store
	o     signin.Options

	mu    sync.Mutex
	pages http.Handler // of the replica that browsers reach
}

func newRig(t *testing.T) *rig {
	t.Helper()
	sim, err := entra.New(entra.Options{
		LoginURL: login, Domains: []string{"example.com"},
		People: []entra.Person{{ID: aliceID, UPN: alice}, {ID: bobID, UPN: bob}},
		Apps:   []entra.App{{ClientID: entra.DefaultClientID, DisplayName: "Countersign", Secrets: []string{entra.DefaultClientSecret}, RedirectURIs: []string{callback}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, sim: sim, net: providertest.Listen(), store: signin.NewMemory()}
	server := &http.Server{Handler: sim.Login()}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(r.net) })
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	r.o = signin.Options{
		BaseURL: ours, TenantID: tenant, Login: login, ClientID: entra.DefaultClientID, ClientSecret: entra.DefaultClientSecret, Store: r.store,
		Resolve: func(_ context.Context, p providers.Person) (providers.Person, error) {
			p.ObjectID, p.TenantID = map[string]string{alice: aliceID, bob: bobID}[p.ID], tenant
			return p, nil
		},
	}
	return r
}

// open makes one more replica. Browsers reach the one that was opened last.
func (r *rig) open() *signin.Verifier {
	r.Helper()
	v, err := signin.OpenDialing(r.o, r.net.Dial)
	if err != nil {
		r.Fatal(err)
	}
	r.serve(v)
	return v
}

func (r *rig) serve(v *signin.Verifier) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pages = v.Pages()
}

func (r *rig) served() http.Handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pages
}

func challenge(person string) providers.Challenge {
	return providers.Challenge{
		HoldID: "3f6c0c4e2b0f4e0b9d7a1c2d3e4f5a6b", Person: providers.Person{ID: person},
		Title:  "Reset the password of carol@example.com",
		Fields: []providers.Field{{Name: "Target", Value: "carol@example.com"}, {Name: "Ticket", Value: "T-1042"}, {Name: "Agent", Value: "helpdesk-1"}},
		Code:   "7Q4M",
	}
}

// ask starts a question for Alice.
func (r *rig) ask(v *signin.Verifier) providers.Attempt {
	r.Helper()
	a, err := v.Start(r.Context(), challenge(alice))
	if err != nil || !a.Asked {
		r.Fatalf("Start = %+v, %v; want somebody asked", a, err)
	}
	return a
}

// outcome waits for the end of a question.
func (r *rig) outcome(v *signin.Verifier, a providers.Attempt) providers.Outcome {
	r.Helper()
	out, err := v.Wait(r.Context(), a.Transaction)
	if err != nil {
		r.Fatalf("Wait: %v", err)
	}
	return out
}

// open says whether a question still waits for its answer.
func (r *rig) isOpen(v *signin.Verifier, a providers.Attempt) bool {
	r.Helper()
	return strings.Contains(r.browser().get(a.URL).body, "Approve and sign in")
}

// browser is a person's browser without scripts: it keeps cookies, follows redirects by hand and fills in forms.
type browser struct {
	*rig
	client *http.Client
	jar    http.CookieJar
}

func (r *rig) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.Fatal(err)
	}
	return &browser{rig: r, jar: jar, client: &http.Client{
		Transport: wire{r}, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// wire hands requests to the handlers behind the two hosts.
type wire struct{ *rig }

func (w wire) RoundTrip(out *http.Request) (*http.Response, error) {
	h := w.sim.Login()
	if out.URL.Host != "localhost" {
		h = w.served()
	}
	body := out.Body
	if body == nil {
		body = http.NoBody
	}
	in := httptest.NewRequestWithContext(out.Context(), out.Method, out.URL.String(), body)
	in.Header = out.Header.Clone()
	if out.Host != "" {
		in.Host = out.Host
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, in)
	return rec.Result(), nil
}

// view is one page as the browser got it.
type view struct {
	url    string
	status int
	header http.Header
	body   string
}

func (b *browser) do(req *http.Request) view {
	b.Helper()
	resp, err := b.client.Do(req)
	if err != nil {
		b.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return view{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return view{req.URL.String(), resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) get(address string) view {
	b.Helper()
	if address == "" { // what led nowhere has been reported
		return view{}
	}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, address, nil)
	if err != nil {
		b.Fatal(err)
	}
	return b.do(req)
}

// post sends a form as a browser does from a page of the same origin.
func (b *browser) post(address string, form url.Values, edit func(*http.Request)) view {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "null") // what "no-referrer" makes of it
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	if edit != nil {
		edit(req)
	}
	return b.do(req)
}

var (
	tokenShape   = regexp.MustCompile(`name="token" value="([^"]+)"`)
	refreshShape = regexp.MustCompile(`http-equiv="refresh" content="0; url=([^"]+)"`)
	actionShape  = regexp.MustCompile(`action="([^"]+)"`)
)

func form(p view, answer string) url.Values {
	token := ""
	if m := tokenShape.FindStringSubmatch(p.body); m != nil {
		token = html.UnescapeString(m[1])
	}
	return url.Values{"token": {token}, "answer": {answer}}
}

// press opens the page, presses a button and returns where the browser is sent to sign in.
func (b *browser) press(address, answer string) string {
	b.Helper()
	p := b.post(address, form(b.get(address), answer), nil)
	m := refreshShape.FindStringSubmatch(p.body)
	if p.status != http.StatusOK || m == nil {
		b.Errorf("POST %s = %d, and no way to sign in: %s", answer, p.status, p.body)
		return ""
	}
	return html.UnescapeString(m[1])
}

// signIn goes through the provider's sign-in as a person does, and returns where it sends the browser back to.
func (b *browser) signIn(address, as string, mfa bool) string {
	b.Helper()
	p := b.get(address)
	if m := actionShape.FindStringSubmatch(p.body); p.status == http.StatusOK && m != nil {
		p = b.post(resolve(p.url, html.UnescapeString(m[1])), entra.LoginForm(p.body, as, mfa, "approve"), nil)
	}
	back := p.header.Get("Location")
	if back == "" {
		b.Errorf("sign-in ends with %d and no redirect: %s", p.status, p.body)
	}
	return back
}

// resolve makes an address of the form's action.
func resolve(page, action string) string {
	u, err := url.Parse(page)
	if err != nil {
		return action
	}
	if u, err = u.Parse(action); err != nil {
		return action
	}
	return u.String()
}

// answer does all of it.
func (b *browser) answer(a providers.Attempt, button, as string) view {
	b.Helper()
	return b.get(b.signIn(b.press(a.URL, button), as, true))
}

// shows checks which page it is.
func (p view) shows(t *testing.T, status int, title string) {
	t.Helper()
	if p.status != status || !strings.Contains(p.body, "<h1>"+title+"</h1>") {
		t.Errorf("page = %d %s; want %d %q", p.status, p.body, status, title)
	}
}

// after runs f that much later.
func (r *rig) after(wg *sync.WaitGroup, d time.Duration, f func()) {
	wg.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-r.Context().Done():
		}
	})
}
