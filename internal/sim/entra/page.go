package entra

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// pageView is what the sign-in page draws.
type pageView struct {
	Action, Transaction, Hint, App, Problem, Nonce string
	People                                         []string
	ACRS                                           []string
	Fresh                                          bool
}

// showPage asks the person at a browser. It works without script, and posts to where it came from whatever LoginURL says.
func (s *Server) showPage(w http.ResponseWriter, r *http.Request, g *grant, problem string) {
	id, nonce := rand.Text(), rand.Text()
	v := pageView{Action: base("", r) + "/" + s.o.TenantID + "/sim/login", Transaction: id, Hint: g.hint, Problem: problem, Nonce: nonce, ACRS: g.acrs, Fresh: g.prompt == "login"}
	s.mu.Lock()
	s.pending[id] = g
	if a := s.appLocked(g.clientID); a != nil {
		v.App = a.DisplayName
	}
	for _, p := range s.people {
		v.People = append(v.People, p.UPN)
	}
	s.mu.Unlock()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// No form-action: the answer to the form redirects to the application, and browsers hold that against it.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_ = loginPage.Execute(w, v) // the browser may have left
}

// submit takes the page's form: transaction, user, mfa (yes, no) and action (approve, deny).
func (s *Server) submit(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		signInError(w, 900144, "The form is malformed.")
		return
	}
	form := r.PostForm
	s.mu.Lock()
	g := s.pending[form.Get("transaction")]
	delete(s.pending, form.Get("transaction"))
	s.mu.Unlock()
	if g == nil {
		signInError(w, 165000, "This sign-in is over. Start again.")
		return
	}
	if form.Get("action") == "deny" {
		s.finish(w, r, g, SignIn{Error: "access_denied"})
		return
	}
	user := cmp.Or(strings.TrimSpace(form.Get("user")), g.hint)
	s.mu.Lock()
	known := s.personLocked(user) != nil
	s.mu.Unlock()
	mfa := form.Get("mfa") != "no"
	switch {
	case !known:
		s.showPage(w, r, g, "We couldn't find an account with that username.")
		return
	case len(g.acrs) > 0 && !mfa: // Conditional Access demands the context; there is no way on without it
		s.showPage(w, r, g, "Your organization needs more information to keep your account secure.")
		return
	}
	cookie := rand.Text()
	s.mu.Lock()
	s.cookies[cookie] = browser{upn: user, authTime: s.now(), mfa: mfa}
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever the simulator is served over TLS
		Name: cookieName, Value: cookie, Path: "/", HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode, Expires: s.now().Add(24 * time.Hour),
	})
	in := SignIn{As: user}
	if !mfa {
		in.AMR = []string{"pwd"}
	}
	s.finish(w, r, g, in)
}

// LoginForm reads the transaction of a sign-in page and returns the form that answers it, for tests that play the
// browser: POST it to the page's own action, /{tenant}/sim/login. action is "approve" or "deny".
func LoginForm(html, user string, mfa bool, action string) url.Values {
	_, rest, _ := strings.Cut(html, `name="transaction" value="`)
	id, _, _ := strings.Cut(rest, `"`)
	v := url.Values{"transaction": {id}, "user": {user}, "action": {action}, "mfa": {"yes"}}
	if !mfa {
		v.Set("mfa", "no")
	}
	return v
}
