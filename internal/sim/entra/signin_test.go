package entra_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/entra"
)

const (
	redirect = "https://countersign.example/callback/signin"
	verifier = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK"
	tenant   = "/" + entra.DefaultTenant
)

func signInWorld(t *testing.T) *world {
	t.Helper()
	return start(t, entra.Options{Apps: []entra.App{{
		ClientID: entra.DefaultClientID, DisplayName: "Countersign", Secrets: []string{entra.DefaultClientSecret}, RedirectURIs: []string{redirect},
	}}})
}

func authorizeURL(w *world, edit ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	v := url.Values{
		"client_id": {entra.DefaultClientID}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {"openid profile"},
		"state": {"st"}, "nonce": {"no"}, "prompt": {"login"}, "login_hint": {kim},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
		"claims": {`{"id_token":{"acrs":{"essential":true,"value":"c1"}}}`},
	}
	for i := 0; i+1 < len(edit); i += 2 {
		v.Set(edit[i], edit[i+1])
	}
	return w.url + tenant + "/oauth2/v2.0/authorize?" + v.Encode()
}

// back reads where the browser is sent.
func back(t *testing.T, r reply) url.Values {
	t.Helper()
	if r.status != 302 {
		t.Fatalf("status %d: %s", r.status, r.body)
	}
	to, rest, _ := strings.Cut(r.header.Get("Location"), "?")
	if to != redirect {
		t.Fatalf("sent to %s", to)
	}
	v, err := url.ParseQuery(rest)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func redeem(code string, edit ...string) url.Values {
	v := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {entra.DefaultClientID}, "client_secret": {entra.DefaultClientSecret},
		"code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier},
	}
	for i := 0; i+1 < len(edit); i += 2 {
		v.Set(edit[i], edit[i+1])
	}
	return v
}

// idToken opens a token and says whether its signature is the published key's.
func (w *world) idToken(t *testing.T, text string) (header, claims map[string]any, verified bool) {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", text)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	conf := object(t, w.do(t, "GET", w.url+tenant+"/v2.0/.well-known/openid-configuration", nil))
	var keys struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal(w.do(t, "GET", conf["jwks_uri"].(string), nil).body, &keys); err != nil {
		t.Fatal(err)
	}
	n, _ := base64.RawURLEncoding.DecodeString(keys.Keys[0].N)
	e, _ := base64.RawURLEncoding.DecodeString(keys.Keys[0].E)
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	sig, _ := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return header, claims, header["alg"] == "RS256" && header["kid"] == keys.Keys[0].Kid && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
}

// signIn goes through a scripted sign-in.
func (w *world) signIn(t *testing.T, in entra.SignIn) (header, claims map[string]any, verified bool) {
	t.Helper()
	w.NextSignIn(in)
	v := back(t, w.do(t, "GET", authorizeURL(w), nil))
	status, m := w.form(t, tenant+"/oauth2/v2.0/token", redeem(v.Get("code")))
	if status != 200 {
		t.Fatalf("token: %d %v", status, m)
	}
	return w.idToken(t, m["id_token"].(string))
}

func TestASignInEndsInATokenForTheOneWhoSignedIn(t *testing.T) {
	w := signInWorld(t)
	_, c, ok := w.signIn(t, entra.SignIn{})
	for claim, want := range map[string]any{
		"iss": w.url + tenant + "/v2.0", "aud": entra.DefaultClientID, "tid": entra.DefaultTenant, "oid": entra.KimID,
		"preferred_username": kim, "nonce": "no", "ver": "2.0",
	} {
		if c[claim] != want {
			t.Errorf("%s = %v, want %v", claim, c[claim], want)
		}
	}
	amr, _ := json.Marshal(c["amr"])
	acrs, _ := json.Marshal(c["acrs"])
	if !ok || string(amr) != `["pwd","mfa"]` || string(acrs) != `["c1"]` || c["auth_time"] == nil || c["sub"] == entra.KimID {
		t.Errorf("verified %v, claims %v", ok, c)
	}
}

func TestScriptedSignInsMislead(t *testing.T) {
	w := signInWorld(t)
	text := func(v any) string { b, _ := json.Marshal(v); return string(b) }
	for name, k := range map[string]struct {
		in    entra.SignIn
		check func(h, c map[string]any, ok bool) bool
	}{
		"wrong user":    {entra.SignIn{As: "lee@contoso.com"}, func(_, c map[string]any, ok bool) bool { return ok && c["oid"] == entra.LeeID }},
		"no MFA":        {entra.SignIn{AMR: []string{"pwd"}, ACRS: []string{}}, func(_, c map[string]any, ok bool) bool { return ok && text(c["amr"]) == `["pwd"]` && c["acrs"] == nil }},
		"other context": {entra.SignIn{ACRS: []string{"c2"}}, func(_, c map[string]any, ok bool) bool { return ok && text(c["acrs"]) == `["c2"]` }},
		"old": {entra.SignIn{AuthAge: time.Hour}, func(_, c map[string]any, ok bool) bool {
			return ok && c["iat"].(float64)-c["auth_time"].(float64) > 3000
		}},
		"missing":      {entra.SignIn{Drop: []string{"auth_time", "amr"}}, func(_, c map[string]any, ok bool) bool { return ok && c["auth_time"] == nil && c["amr"] == nil }},
		"other tenant": {entra.SignIn{TenantID: "t2"}, func(_, c map[string]any, ok bool) bool { return ok && c["tid"] == "t2" && c["iss"] == w.url+"/t2/v2.0" }},
		"other nonce":  {entra.SignIn{Nonce: "x"}, func(_, c map[string]any, ok bool) bool { return ok && c["nonce"] == "x" }},
		"no nonce":     {entra.SignIn{Nonce: "-"}, func(_, c map[string]any, ok bool) bool { return ok && c["nonce"] == nil }},
		"expired":      {entra.SignIn{Expired: true}, func(_, c map[string]any, ok bool) bool { return ok && c["exp"].(float64) < float64(time.Now().Unix()) }},
		"none":         {entra.SignIn{Sign: entra.None}, func(h, _ map[string]any, ok bool) bool { return !ok && h["alg"] == "none" }},
		"HMAC":         {entra.SignIn{Sign: entra.HMAC}, func(h, _ map[string]any, ok bool) bool { return !ok && h["alg"] == "HS256" }},
		"wrong key":    {entra.SignIn{Sign: entra.WrongKey}, func(h, _ map[string]any, ok bool) bool { return !ok && h["alg"] == "RS256" }},
		"unlisted key": {entra.SignIn{Sign: entra.Unlisted}, func(h, _ map[string]any, ok bool) bool { return !ok && h["alg"] == "RS256" }},
		"broken":       {entra.SignIn{Sign: entra.Broken}, func(_, c map[string]any, ok bool) bool { return !ok && c["oid"] == entra.KimID }},
		"anything":     {entra.SignIn{Set: map[string]any{"aud": []string{"a", "b"}}}, func(_, c map[string]any, ok bool) bool { return ok && text(c["aud"]) == `["a","b"]` }},
	} {
		if h, c, ok := w.signIn(t, k.in); !k.check(h, c, ok) {
			t.Errorf("%s: verified %v, header %v, claims %v", name, ok, h, c)
		}
	}
	w.NextSignIn(entra.SignIn{Error: "access_denied"}, entra.SignIn{State: "forged"})
	if v := back(t, w.do(t, "GET", authorizeURL(w), nil)); v.Get("error") != "access_denied" || v.Get("state") != "st" || v.Has("code") {
		t.Errorf("declined: %v", v)
	}
	if v := back(t, w.do(t, "GET", authorizeURL(w), nil)); v.Get("state") != "forged" || !v.Has("code") {
		t.Errorf("forged state: %v", v)
	}
}

func TestACodeIsGoodOnceForItsOwnRequest(t *testing.T) {
	w := signInWorld(t)
	w.EverySignIn(&entra.SignIn{})
	at := tenant + "/oauth2/v2.0/token"
	for name, edit := range map[string][]string{
		"redirect URI": {"redirect_uri", redirect + "/x"}, "verifier": {"code_verifier", strings.Repeat("x", 43)}, "no verifier": {"code_verifier", ""},
		"code": {"code", "nonsense"},
	} {
		code := back(t, w.do(t, "GET", authorizeURL(w), nil)).Get("code")
		if status, m := w.form(t, at, redeem(code, edit...)); status != 400 || m["error"] != "invalid_grant" {
			t.Errorf("other %s: %d %v", name, status, m)
		}
	}
	good := back(t, w.do(t, "GET", authorizeURL(w), nil)).Get("code")
	if status, m := w.form(t, at, redeem(good, "client_secret", "no")); status != 401 || m["error"] != "invalid_client" {
		t.Errorf("bad secret: %d %v", status, m)
	}
	if status, _ := w.form(t, at, redeem(good)); status != 200 {
		t.Error("the code was spent by somebody who is not the client")
	}
	if status, m := w.form(t, at, redeem(good)); status != 400 || code(m) != 54005 {
		t.Errorf("second use: %d %v", status, m)
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	w := signInWorld(t)
	for name, c := range map[string]struct {
		edit []string
		sent bool // to the redirect URI, with an error
	}{
		"foreign redirect URI": {[]string{"redirect_uri", "https://evil.example/"}, false},
		"unknown client":       {[]string{"client_id", "nobody"}, false},
		"no PKCE":              {[]string{"code_challenge", ""}, true},
		"plain PKCE":           {[]string{"code_challenge_method", "plain"}, true},
		"implicit flow":        {[]string{"response_type", "id_token"}, true},
		"no openid":            {[]string{"scope", "profile"}, true},
		"bad claims":           {[]string{"claims", "{"}, true},
		"silent":               {[]string{"prompt", "none"}, true},
	} {
		r := w.do(t, "GET", authorizeURL(w, c.edit...), nil)
		if !c.sent {
			if r.status != 400 || r.header.Get("Location") != "" {
				t.Errorf("%s: %d %q, want a page", name, r.status, r.header.Get("Location"))
			}
			continue
		}
		if v := back(t, r); v.Get("error") == "" || v.Has("code") || v.Get("state") != "st" {
			t.Errorf("%s: %v, want an error", name, v)
		}
	}
}

func TestAPersonSignsInOnThePage(t *testing.T) {
	w := signInWorld(t)
	var err error
	if w.client.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	submit := func(pageOf reply, user string, mfa bool, action string) reply {
		f := entra.LoginForm(string(pageOf.body), user, mfa, action)
		return w.do(t, "POST", w.url+tenant+"/sim/login", []byte(f.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	}
	first := w.do(t, "GET", authorizeURL(w), nil)
	if first.status != 200 || !strings.Contains(string(first.body), `value="`+kim+`"`) || !strings.Contains(string(first.body), "c1") {
		t.Fatalf("page: %d %s", first.status, first.body)
	}
	if !strings.Contains(string(first.body), `action="`+w.url+tenant+`/sim/login"`) {
		t.Error("the form is sent to another host than the page came from")
	}
	again := submit(first, kim, false, "approve")
	if again.status != 200 || !strings.Contains(string(again.body), "needs more information") {
		t.Fatalf("a context without MFA: %d %s", again.status, again.body)
	}
	done := submit(again, kim, true, "approve")
	if v := back(t, done); !v.Has("code") || v.Get("state") != "st" {
		t.Errorf("sent back with %v", v)
	}
	if r := submit(again, kim, true, "approve"); r.status != 400 {
		t.Errorf("the form was taken twice: %d", r.status)
	}
	if v := back(t, submit(w.do(t, "GET", authorizeURL(w), nil), kim, true, "deny")); v.Get("error") != "access_denied" {
		t.Errorf("cancelled: %v", v)
	}
	// The browser has a session now. It counts unless the request asks for a fresh sign-in or a context.
	if v := back(t, w.do(t, "GET", authorizeURL(w, "prompt", "none", "claims", ""), nil)); !v.Has("code") {
		t.Errorf("a session did not count: %v", v)
	}
	if r := w.do(t, "GET", authorizeURL(w, "claims", ""), nil); r.status != 200 {
		t.Errorf("prompt=login did not ask: %d", r.status)
	}
}

func TestDiscoveryNamesTheSimulatorItself(t *testing.T) {
	w := signInWorld(t)
	m := object(t, w.do(t, "GET", w.url+"/common/v2.0/.well-known/openid-configuration", nil))
	if m["issuer"] != w.url+"/{tenantid}/v2.0" || m["token_endpoint"] != w.url+"/common/oauth2/v2.0/token" {
		t.Errorf("common: %v", m)
	}
	m = object(t, w.do(t, "GET", w.url+"/common/discovery/instance?api-version=1.1&authorization_endpoint="+url.QueryEscape(w.url+tenant+"/oauth2/v2.0/authorize"), nil))
	if m["tenant_discovery_endpoint"] != w.url+tenant+"/v2.0/.well-known/openid-configuration" {
		t.Errorf("instance: %v", m)
	}
	fixed := start(t, entra.Options{LoginURL: "https://login.microsoftonline.com"})
	m = object(t, fixed.do(t, "GET", fixed.url+tenant+"/v2.0/.well-known/openid-configuration?x="+rand.Text(), nil))
	if m["issuer"] != "https://login.microsoftonline.com"+tenant+"/v2.0" {
		t.Errorf("fixed: %v", m["issuer"])
	}
}
