package entra

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

//go:embed login.html
var loginHTML string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

const cookieName = "ESTSAUTH"

// browser is a session that a sign-in page left behind.
type browser struct {
	upn      string
	authTime time.Time
	mfa      bool
}

// authorize answers the authorize endpoint: by a redirect when the sign-in is scripted or the browser has a session that
// prompt lets count, by a page otherwise.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, tenant string) {
	if err := r.ParseForm(); err != nil || r.Method != http.MethodGet && r.Method != http.MethodPost {
		signInError(w, 900561, "The endpoint only accepts GET, POST requests.")
		return
	}
	g, code, problem := s.newGrant(r, tenant)
	if g == nil {
		signInError(w, code, problem)
		return
	}
	if problem != "" {
		s.sendBack(w, r, g, "", "invalid_request", fmt.Sprintf("AADSTS%d: %s", code, problem))
		return
	}
	s.mu.Lock()
	in, scripted := s.scriptedLocked()
	session, known := s.sessionLocked(r)
	if !scripted && known && g.prompt != "login" && g.prompt != "select_account" && len(g.acrs) == 0 {
		in, scripted = SignIn{As: session.upn, AuthAge: s.now().Sub(session.authTime)}, true
		if !session.mfa {
			in.AMR = []string{"pwd"}
		}
	}
	s.mu.Unlock()
	switch {
	case scripted:
		s.finish(w, r, g, in)
	case g.prompt == "none":
		s.sendBack(w, r, g, "", "login_required", "AADSTS50058: A silent sign-in request was sent but no user is signed in.")
	default:
		s.showPage(w, r, g, "")
	}
}

// newGrant checks an authorize request. Without a grant, the problem is shown and never sent to the redirect URI.
func (s *Server) newGrant(r *http.Request, tenant string) (*grant, int, string) {
	q := r.Form
	if !s.knows(tenant, "common", "organizations") {
		return nil, 90002, "Tenant '" + tenant + "' not found."
	}
	s.mu.Lock()
	var a *App
	if known := s.appLocked(q.Get("client_id")); known != nil {
		copied := known.App // Graph can disable the application meanwhile
		a = &copied
	}
	s.mu.Unlock()
	switch {
	case a == nil:
		return nil, 700016, "Application with identifier '" + q.Get("client_id") + "' was not found in the directory."
	case a.Disabled:
		return nil, 7000112, "Application '" + a.ClientID + "'(" + a.DisplayName + ") is disabled."
	case !slices.Contains(a.RedirectURIs, q.Get("redirect_uri")):
		return nil, 50011, "The redirect URI '" + q.Get("redirect_uri") + "' specified in the request does not match the redirect URIs configured for the application '" + a.ClientID + "'."
	}
	g := &grant{
		clientID: a.ClientID, redirect: q.Get("redirect_uri"), state: q.Get("state"), nonce: q.Get("nonce"), challenge: q.Get("code_challenge"),
		scope: q.Get("scope"), mode: cmp.Or(q.Get("response_mode"), "query"), hint: q.Get("login_hint"), prompt: q.Get("prompt"),
		from: base(s.o.LoginURL, r), at: s.now(),
	}
	var claims map[string]map[string]*claimRequest
	if text := q.Get("claims"); text != "" && json.Unmarshal([]byte(text), &claims) != nil {
		return g, 9002325, "The claims parameter is not valid JSON."
	}
	g.acrs = acrsOf(claims)
	switch {
	case q.Get("response_type") != "code":
		return g, 700051, "response_type '" + q.Get("response_type") + "' is not enabled for the application."
	case !slices.Contains([]string{"query", "fragment", "form_post"}, g.mode):
		return g, 70003, "The response_mode is not supported."
	case !slices.Contains(strings.Fields(g.scope), "openid"):
		return g, 900144, "The request must contain the scope 'openid'."
	case g.challenge == "" || q.Get("code_challenge_method") != "S256" || len(g.challenge) != 43:
		return g, 9002325, "Proof Key for Code Exchange with S256 is required."
	case !slices.Contains([]string{"", "login", "none", "consent", "select_account"}, g.prompt):
		return g, 90023, "Unsupported 'prompt' value."
	}
	return g, 0, ""
}

func (s *Server) sessionLocked(r *http.Request) (browser, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return browser{}, false
	}
	b, ok := s.cookies[c.Value]
	return b, ok
}

// finish ends an authorize request as in says.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, g *grant, in SignIn) {
	if in.NoReturn {
		write(w, http.StatusOK, "text/html; charset=utf-8", "<!doctype html><title>Sign in</title><p>Something went wrong. Close this window.</p>")
		return
	}
	if in.State != "" {
		g.state = in.State
	}
	if in.Error != "" {
		s.sendBack(w, r, g, "", in.Error, "AADSTS65004: User declined to consent to access the app.")
		return
	}
	s.mu.Lock()
	key := cmp.Or(in.As, g.hint)
	g.person = s.personLocked(key)
	if key == "" && len(s.people) > 0 {
		g.person = s.people[0]
	}
	if g.person == nil || g.person.Disabled {
		s.mu.Unlock()
		signInError(w, 50034, "The user account does not exist in the directory, or is disabled.")
		return
	}
	g.in, g.at, g.authTime = in, s.now(), s.now().Add(-in.AuthAge)
	code := "1." + rand.Text() + rand.Text()
	s.codes[code] = g
	s.mu.Unlock()
	s.sendBack(w, r, g, code, "", "")
}

// sendBack sends the browser to the redirect URI, with a code or an error.
func (s *Server) sendBack(w http.ResponseWriter, r *http.Request, g *grant, code, kind, description string) {
	v := url.Values{}
	if code != "" {
		v.Set("code", code)
		v.Set("session_state", newID())
	} else {
		v.Set("error", kind)
		v.Set("error_description", description)
	}
	if g.state != "" {
		v.Set("state", g.state)
	}
	if g.mode == "form_post" {
		formPost(w, g.redirect, v)
		return
	}
	u, err := url.Parse(g.redirect)
	if err != nil {
		signInError(w, 50011, "The redirect URI is not a URL.")
		return
	}
	if g.mode == "fragment" {
		u.Fragment = ""
		http.Redirect(w, r, u.String()+"#"+v.Encode(), http.StatusFound) //nolint:gosec // a redirect URI that is registered, as newGrant checked
		return
	}
	q := u.Query()
	for name := range v {
		q.Set(name, v.Get(name))
	}
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusFound) //nolint:gosec // likewise
}

var formPage = template.Must(template.New("form").Parse(`<!doctype html><html><head><title>Working...</title></head>` +
	`<body><form method="POST" action="{{.To}}">{{range $k, $v := .Values}}<input type="hidden" name="{{$k}}" value="{{index $v 0}}">{{end}}` +
	`<noscript><p>Script is disabled. Click Submit to continue.</p><input type="submit" value="Submit"></noscript></form>` +
	`<script>document.forms[0].submit();</script></body></html>`))

func formPost(w http.ResponseWriter, to string, v url.Values) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_ = formPage.Execute(w, map[string]any{"To": to, "Values": v}) // the browser may have left
}

var problemPage = template.Must(template.New("problem").Parse(`<!doctype html><html lang="en"><head><title>Sign in to your account</title></head>` +
	`<body><h1>Sorry, but we’re having trouble signing you in.</h1><p>AADSTS{{.Code}}: {{.Text}}</p></body></html>`))

func signInError(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusBadRequest)
	_ = problemPage.Execute(w, map[string]any{"Code": code, "Text": text}) // the browser may have left
}
