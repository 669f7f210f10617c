package entra

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Signature is how an ID token is signed.
type Signature uint8

// The signatures. Good is the published key's.
const (
	Good     Signature = iota
	None               // alg none, no signature
	WrongKey           // another key under the published key's id
	Unlisted           // another key under an id of its own
	HMAC               // HS256 under the public key
	Broken             // the right key, and claims changed after signing
)

// SignIn is what a person does when the authorize endpoint asks, and what the token then says. The zero value is the
// person of the login_hint who signs in afresh with MFA and meets every authentication context that was asked for.
type SignIn struct {
	As       string        // UPN or object id; "" is the login_hint, or else the first person
	AMR      []string      // nil: pwd and mfa
	ACRS     []string      // nil: what the claims parameter asked for
	AuthAge  time.Duration // how long before now the person authenticated
	Error    string        // the redirect carries this error instead: access_denied, login_required, …
	NoReturn bool          // the browser is never sent back
	State    string        // sent instead of the state that was given
	Nonce    string        // the token carries this one instead; "-" is none
	TenantID string        // tid, and the tenant in iss
	Audience string        // aud
	Issuer   string        // iss
	Expired  bool          // the token expired an hour ago
	Future   bool          // the token becomes valid in an hour
	Drop     []string      // claims that are left out
	Set      map[string]any
	Sign     Signature
}

// NextSignIn queues what the next authorize requests meet, one each. With nothing queued, the person is asked by a page.
func (s *Server) NextSignIn(in ...SignIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns = append(s.signIns, in...)
}

// EverySignIn says what authorize requests meet when nothing is queued; nil asks by a page again.
func (s *Server) EverySignIn(in *SignIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always = in
}

func (s *Server) scriptedLocked() (SignIn, bool) {
	if len(s.signIns) > 0 {
		in := s.signIns[0]
		s.signIns = s.signIns[1:]
		return in, true
	}
	if s.always != nil {
		return *s.always, true
	}
	return SignIn{}, false
}

// grant is one authorize request, from its arrival until its code is spent.
type grant struct {
	clientID, redirect, state, nonce string
	challenge, scope, mode, hint     string
	prompt                           string
	acrs                             []string // asked for
	from                             string   // the login host's own name
	in                               SignIn
	person                           *person
	at, authTime                     time.Time
	spent                            bool
}

// redeem answers the token endpoint for a code.
func (s *Server) redeem(r *http.Request, tenant string) (map[string]any, *loginError) {
	form := r.PostForm
	for _, name := range []string{"code", "redirect_uri"} {
		if form.Get(name) == "" {
			return nil, missing(name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, refused := s.clientLocked(r, tenant)
	if refused != nil {
		return nil, refused
	}
	invalid := func(code int, format string, args ...any) *loginError {
		return refuse(http.StatusBadRequest, "invalid_grant", code, format, args...)
	}
	g := s.codes[form.Get("code")]
	switch {
	case g == nil:
		return nil, invalid(9002313, "Invalid request. Request is malformed or invalid.")
	case g.spent:
		return nil, invalid(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
	}
	g.spent = true // whatever comes of it: a code is tried once
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case !s.now().Before(g.at.Add(s.o.CodeLifetime)):
		return nil, invalid(70008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
	case !strings.EqualFold(g.clientID, a.ClientID):
		return nil, invalid(700005, "Provided Authorization Code is intended to use against other tenant or client, thus rejected.")
	case g.redirect != form.Get("redirect_uri"):
		return nil, invalid(500112, "The reply address '%s' does not match the reply address '%s' provided when requesting Authorization code.", form.Get("redirect_uri"), g.redirect)
	case form.Get("code_verifier") == "":
		return nil, invalid(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	case subtle.ConstantTimeCompare([]byte(b64(sum[:])), []byte(g.challenge)) != 1:
		return nil, invalid(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	}
	id, err := s.idTokenLocked(g)
	if err != nil {
		return nil, refuse(http.StatusInternalServerError, "server_error", 90033, "A transient error has occurred. Please try again.")
	}
	access, err := s.accessTokenLocked(AccessToken{ClientID: a.ClientID, UPN: g.person.UPN, Scopes: []string{"openid", "profile", "User.Read"}})
	if err != nil {
		return nil, refuse(http.StatusInternalServerError, "server_error", 90033, "A transient error has occurred. Please try again.")
	}
	return map[string]any{
		"token_type": "Bearer", "scope": g.scope, "expires_in": tokenSeconds, "ext_expires_in": tokenSeconds,
		"access_token": access, "id_token": id,
	}, nil
}

// idTokenLocked makes the v2.0 ID token, truthful or as the script has it.
func (s *Server) idTokenLocked(g *grant) (string, error) {
	in, p, now := g.in, g.person, s.now()
	tid := cmp.Or(in.TenantID, s.o.TenantID)
	sub := sha256.Sum256([]byte(p.ID + "\x00" + g.clientID)) // pairwise
	c := map[string]any{
		"ver": "2.0", "iss": cmp.Or(in.Issuer, g.from+"/"+tid+"/v2.0"), "aud": cmp.Or(in.Audience, g.clientID), "sub": b64(sub[:]), "tid": tid,
		"oid": p.ID, "name": p.DisplayName, "preferred_username": p.UPN, "rh": "1.AAAA", "uti": b64([]byte(newID()))[:22],
		"iat": now.Add(-5 * time.Minute).Unix(), "nbf": now.Add(-5 * time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
		"auth_time": g.authTime.Unix(), "amr": in.AMR,
	}
	if in.AMR == nil {
		c["amr"] = []string{"pwd", "mfa"}
	}
	acrs := in.ACRS
	if acrs == nil {
		acrs = g.acrs
	}
	if len(acrs) > 0 {
		c["acrs"] = acrs
	}
	if nonce := cmp.Or(in.Nonce, g.nonce); nonce != "" && nonce != "-" {
		c["nonce"] = nonce
	}
	if in.Expired {
		c["iat"], c["nbf"], c["exp"] = now.Add(-2*time.Hour).Unix(), now.Add(-2*time.Hour).Unix(), now.Add(-time.Hour).Unix()
	}
	if in.Future {
		c["nbf"] = now.Add(time.Hour).Unix()
	}
	maps.Copy(c, in.Set)
	for _, name := range in.Drop {
		delete(c, name)
	}
	return s.signID(in.Sign, c)
}

func (s *Server) signID(how Signature, c map[string]any) (string, error) {
	key, h := s.keys, s.keys.header()
	evil, err := key, error(nil)
	if how == WrongKey || how == Unlisted {
		if evil, err = s.evil(); err != nil {
			return "", err
		}
	}
	switch how {
	case None:
		h = map[string]any{"typ": "JWT", "alg": "none"}
	case HMAC:
		h["alg"] = "HS256"
	case WrongKey:
		key = evil
	case Unlisted:
		key, h = evil, evil.header()
	case Broken:
		honest, err := key.sign(h, map[string]any{"sub": c["sub"]})
		if err != nil {
			return "", err
		}
		forged, err := key.sign(h, c)
		return forged[:strings.LastIndexByte(forged, '.')] + honest[strings.LastIndexByte(honest, '.'):], err
	case Good:
	}
	return key.sign(h, c)
}

// acrsOf reads the authentication contexts that a claims parameter asks for, in either place.
func acrsOf(claims map[string]map[string]*claimRequest) []string {
	var out []string
	for _, place := range []string{"id_token", "access_token"} {
		c := claims[place]["acrs"]
		if c == nil {
			continue
		}
		for _, v := range append([]string{c.Value}, c.Values...) {
			if v != "" && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

type claimRequest struct {
	Essential bool     `json:"essential"`
	Value     string   `json:"value"`
	Values    []string `json:"values"`
}
