package entra_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/entra"
)

const mfaSecret = "mfa~secret"

// world is a simulator on one TLS server, and a client that trusts it.
type world struct {
	*entra.Server
	url    string
	client *http.Client
}

func start(t *testing.T, o entra.Options) *world {
	t.Helper()
	s, err := entra.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewTLSServer(s.Handler())
	t.Cleanup(srv.Close)
	c := srv.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &world{s, srv.URL, c}
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (w *world) do(t *testing.T, method, target string, body []byte, header ...string) reply {
	t.Helper()
	r, err := w.try(t, method, target, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

func (w *world) try(t *testing.T, method, target string, body []byte, header ...string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return reply{resp.StatusCode, resp.Header, b}, err
}

func (w *world) form(t *testing.T, path string, v url.Values) (int, map[string]any) {
	t.Helper()
	r := w.do(t, "POST", w.url+path, []byte(v.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	return r.status, object(t, r)
}

func object(t *testing.T, r reply) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(r.body, &m); err != nil {
		t.Fatalf("status %d: %v in %q", r.status, err, r.body)
	}
	return m
}

func code(m map[string]any) int {
	codes, _ := m["error_codes"].([]any)
	if len(codes) != 1 {
		return 0
	}
	n, _ := codes[0].(float64)
	return int(n)
}

func v1(secret string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {entra.MFAClientID}, "client_secret": {secret},
		"resource": {entra.ConnectorResource}, "scope": {"openid"},
	}
}

// connectorToken gets a token for the Connector the way clients do.
func (w *world) connectorToken(t *testing.T) string {
	t.Helper()
	if err := w.AddMFACredential(mfaSecret, nil); err != nil {
		t.Fatal(err)
	}
	status, m := w.form(t, "/"+entra.DefaultTenant+"/oauth2/token", v1(mfaSecret))
	token, _ := m["access_token"].(string)
	if status != 200 || token == "" || m["expires_in"] != "3599" || m["resource"] != entra.ConnectorResource {
		t.Fatalf("token: %d %v", status, m)
	}
	return token
}

// cert makes a self-signed certificate.
func cert(t *testing.T) (*rsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Countersign"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, c
}

func segment(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

// assertion signs a JWT by hand.
func assertion(t *testing.T, key *rsa.PrivateKey, c *x509.Certificate, alg string, claims map[string]any) string {
	t.Helper()
	header := map[string]any{"alg": alg, "typ": "JWT"}
	if alg == "PS256" {
		sum := sha256.Sum256(c.Raw)
		header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(sum[:])
	} else {
		sum := sha1.Sum(c.Raw)
		header["x5t"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	input := segment(header) + "." + segment(claims)
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	if alg == "PS256" {
		sig, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// answer is a Connector answer as an honest client reads it.
type answer struct {
	XMLName xml.Name
	Result  struct {
		Value, Message string
		Retry          bool
	}
	SessionID    string   `xml:"SessionId"`
	Auth         *auth    `xml:"AuthenticationResult"`
	UPN          string   `xml:"UserPrincipalName"`
	Affinity     string   `xml:"AffinityUrl"`
	Entropy      int      `xml:"ValidEntropyNumber"`
	MethodIDs    []string `xml:"AuthenticationMethods>AuthenticationMethod>Id"`
	DefaultFlags []bool   `xml:"AuthenticationMethods>AuthenticationMethod>IsDefault"`
}

type auth struct {
	Nil  string `xml:"http://www.w3.org/2001/XMLSchema-instance nil,attr"`
	Text string `xml:",chardata"`
}

func (a answer) auth() string {
	if a.Auth == nil || a.Auth.Nil == "true" {
		return "nil"
	}
	return a.Auth.Text
}

const ctxID = "0d3f0d2e-7d43-4b8e-9a0e-7ab4c1c7e001"

func begin(upn, method string, sync bool) string {
	return fmt.Sprintf(`<BeginTwoWayAuthenticationRequest><Version>1.0</Version><UserPrincipalName>%s</UserPrincipalName><Lcid>en-us</Lcid>`+
		`<AuthenticationMethodId>%s</AuthenticationMethodId><AuthenticationMethodProperties xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays">`+
		`<a:KeyValueOfstringstring><a:Key>OverrideVoiceOtp</a:Key><a:Value>false</a:Value></a:KeyValueOfstringstring></AuthenticationMethodProperties>`+
		`<ContextId>%s</ContextId><SyncCall>%t</SyncCall><RequireUserMatch>true</RequireUserMatch><CallerName>radius</CallerName><CallerIP>UNKNOWN:</CallerIP>`+
		`</BeginTwoWayAuthenticationRequest>`, upn, method, ctxID, sync)
}

func end(session, code, upn string) string {
	return fmt.Sprintf(`<EndTwoWayAuthenticationRequest><Version>1.0</Version><SessionId>%s</SessionId><ContextId>%s</ContextId>`+
		`<AdditionalAuthData>%s</AdditionalAuthData><UserPrincipalName>%s</UserPrincipalName></EndTwoWayAuthenticationRequest>`, session, ctxID, code, upn)
}

func (w *world) post(t *testing.T, token, method, body string) reply {
	t.Helper()
	return w.do(t, "POST", w.url+"/StrongAuthenticationService.svc/Connector/"+method, []byte(body),
		"Authorization", "Bearer "+token, "Content-Type", "application/xml")
}

func (w *world) call(t *testing.T, token, method, body string) answer {
	t.Helper()
	return parse(t, w.post(t, token, method, body))
}

func parse(t *testing.T, r reply) answer {
	t.Helper()
	var a answer
	if err := xml.Unmarshal(r.body, &a); err != nil || r.status != 200 {
		t.Fatalf("status %d: %v in %q", r.status, err, r.body)
	}
	return a
}

func TestASecretIsKnownAfterItsPropagation(t *testing.T) {
	now := time.Now()
	w := start(t, entra.Options{Propagation: 10 * time.Second, Now: func() time.Time { return now }, Apps: []entra.App{
		{ClientID: entra.DefaultClientID, Secrets: []string{entra.DefaultClientSecret}, Roles: []string{"Application.ReadWrite.All"}},
	}})
	token, err := w.Mint(entra.AccessToken{})
	if err != nil {
		t.Fatal(err)
	}
	r := w.do(t, "POST", w.url+"/v1.0/servicePrincipals(appId='"+entra.MFAClientID+"')/addPassword", []byte(`{"passwordCredential":{"displayName":"Countersign"}}`),
		"Authorization", "Bearer "+token, "Content-Type", "application/json")
	secret, _ := object(t, r)["secretText"].(string)
	if r.status != 200 || secret == "" {
		t.Fatalf("addPassword: %d %s", r.status, r.body)
	}
	path := "/" + entra.DefaultDomain + "/oauth2/token"
	if status, m := w.form(t, path, v1(secret)); status != 401 || code(m) != 7000215 || m["error"] != "invalid_client" || !strings.HasPrefix(m["error_description"].(string), "AADSTS7000215: ") {
		t.Errorf("fresh secret: %d %v, want AADSTS7000215", status, m)
	}
	now = now.Add(10 * time.Second)
	if status, m := w.form(t, path, v1(secret)); status != 200 {
		t.Errorf("later: %d %v, want a token", status, m)
	}
}

func TestTokenEndpointsRefuseWhatEntraRefuses(t *testing.T) {
	w := start(t, entra.Options{MFAConnectorDisabled: true})
	if err := w.AddMFACredential(mfaSecret, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.AddApp(entra.App{ClientID: "aaaaaaaa-0000-4000-8000-000000000001", Secrets: []string{"x"}, Disabled: true}); err != nil {
		t.Fatal(err)
	}
	tenant := "/" + entra.DefaultTenant
	with := func(k, v string) url.Values {
		f := v1(mfaSecret)
		f.Set(k, v)
		return f
	}
	for name, c := range map[string]struct {
		path   string
		form   url.Values
		status int
		code   int
	}{
		"bad secret":         {tenant + "/oauth2/token", with("client_secret", "no"), 401, 7000215},
		"no secret":          {tenant + "/oauth2/token", with("client_secret", ""), 401, 7000218},
		"no such app":        {tenant + "/oauth2/token", with("client_id", "bbbbbbbb-0000-4000-8000-000000000001"), 400, 700016},
		"disabled app":       {tenant + "/oauth2/token", with("client_id", "aaaaaaaa-0000-4000-8000-000000000001"), 400, 7000112},
		"disabled Connector": {tenant + "/oauth2/token", v1(mfaSecret), 400, 500014},
		"no such resource":   {tenant + "/oauth2/token", with("resource", "https://example.com"), 400, 500011},
		"no such tenant":     {"/fabrikam.com/oauth2/token", v1(mfaSecret), 400, 90002},
		"no such grant":      {tenant + "/oauth2/token", with("grant_type", "password"), 400, 70003},
		"v2 without scope":   {tenant + "/oauth2/v2.0/token", with("scope", ""), 400, 900144},
		"v2 odd scope":       {tenant + "/oauth2/v2.0/token", with("scope", "User.Read"), 400, 1002012},
		"bad assertion type": {tenant + "/oauth2/token", with("client_assertion", "a.b.c"), 401, 50027},
	} {
		if status, m := w.form(t, c.path, c.form); status != c.status || code(m) != c.code {
			t.Errorf("%s: %d %v, want %d AADSTS%d", name, status, m, c.status, c.code)
		}
	}
}

func TestAssertionsAreCheckedAgainstTheRegisteredCertificate(t *testing.T) {
	w := start(t, entra.Options{RefuseReplay: true})
	key, c := cert(t)
	otherKey, other := cert(t)
	if err := w.AddMFACredential("", c); err != nil {
		t.Fatal(err)
	}
	path := "/" + entra.DefaultTenant + "/oauth2/token"
	claims := func(edit ...any) map[string]any {
		m := map[string]any{
			"aud": w.url + path, "iss": entra.MFAClientID, "sub": entra.MFAClientID, "jti": rand.Text(),
			"nbf": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
		}
		for i := 0; i+1 < len(edit); i += 2 {
			m[edit[i].(string)] = edit[i+1]
		}
		return m
	}
	ask := func(text string) (int, map[string]any) {
		f := v1("")
		f.Del("client_secret")
		f.Set("client_assertion", text)
		f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		return w.form(t, path, f)
	}
	for _, alg := range []string{"RS256", "PS256"} {
		text := assertion(t, key, c, alg, claims())
		if status, m := ask(text); status != 200 {
			t.Errorf("%s: %d %v, want a token", alg, status, m)
		}
		if status, m := ask(text); status != 401 || code(m) != 700025 {
			t.Errorf("%s again: %d %v, want a refusal of the repeat", alg, status, m)
		}
	}
	for name, k := range map[string]struct {
		text string
		code int
	}{
		"other certificate":     {assertion(t, otherKey, other, "RS256", claims()), 700027},
		"other key, right name": {assertion(t, otherKey, c, "RS256", claims()), 700027},
		"other audience":        {assertion(t, key, c, "RS256", claims("aud", "https://example.com/token")), 700023},
		"expired":               {assertion(t, key, c, "RS256", claims("exp", time.Now().Add(-10*time.Minute).Unix())), 700024},
		"no expiry":             {assertion(t, key, c, "RS256", claims("exp", nil)), 700024},
		"other issuer":          {assertion(t, key, c, "RS256", claims("iss", entra.DefaultClientID)), 700021},
		"no jti":                {assertion(t, key, c, "RS256", claims("jti", "")), 700025},
		"HS256":                 {assertion(t, key, c, "HS256", claims()), 5002738},
		"not a JWT":             {"nonsense", 50027},
	} {
		if status, m := ask(k.text); status != 401 || code(m) != k.code {
			t.Errorf("%s: %d %v, want AADSTS%d", name, status, m, k.code)
		}
	}
}

func TestAWorkloadsTokenStandsForItsApplication(t *testing.T) {
	key, c := cert(t)
	w := start(t, entra.Options{Apps: []entra.App{{ClientID: entra.DefaultClientID, Roles: entra.ReadRoles(), Federated: []entra.Federated{
		{Issuer: "https://oidc.example", Subject: "system:serviceaccount:ops:countersign", Keys: []crypto.PublicKey{&key.PublicKey}},
	}}}})
	ask := func(sub string) (int, map[string]any) {
		return w.form(t, "/"+entra.DefaultTenant+"/oauth2/v2.0/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {entra.DefaultClientID}, "scope": {"https://graph.microsoft.com/.default openid offline_access profile"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion": {assertion(t, key, c, "RS256", map[string]any{
				"iss": "https://oidc.example", "sub": sub, "aud": []string{"api://AzureADTokenExchange"}, "exp": time.Now().Add(time.Hour).Unix(),
			})},
		})
	}
	if status, m := ask("system:serviceaccount:ops:countersign"); status != 200 || m["expires_in"] != 3599.0 {
		t.Errorf("known subject: %d %v, want a token", status, m)
	}
	if status, m := ask("system:serviceaccount:ops:other"); status != 401 || code(m) != 700213 {
		t.Errorf("other subject: %d %v, want AADSTS700213", status, m)
	}
}
