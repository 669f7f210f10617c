//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"html"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/providers"
	"countersign/providers/microsoft365/signin"
)

const (
	aliceOID = "aaaaaaaa-0000-4000-8000-000000000001"
	bobOID   = "bbbbbbbb-0000-4000-8000-000000000002"
	homeTID  = "11111111-aaaa-4bbb-8ccc-000000000001"
)

// oidcRig is the sign-in page in front of a certified OpenID provider.
type oidcRig struct {
	*testing.T
	v *signin.Verifier
}

// startOIDC runs the provider from npm with one client, whose credentials are a secret, or else a certificate.
func startOIDC(t *testing.T, certificate bool) *oidcRig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	o := signin.Options{BaseURL: base, ClientID: "countersign"}
	client := map[string]any{
		"client_id": o.ClientID, "redirect_uris": []string{base + "/sign-in/callback"}, "grant_types": []string{"authorization_code"},
		"response_types": []string{"code"},
	}
	if certificate {
		var public map[string]any
		o.Certificate, public = clientCertificate(t)
		client["token_endpoint_auth_method"], client["token_endpoint_auth_signing_alg"] = "private_key_jwt", "PS256"
		client["jwks"] = map[string]any{"keys": []any{public}}
	} else {
		o.ClientSecret = signin.Secret(rand.Text())
		client["token_endpoint_auth_method"], client["client_secret"] = "client_secret_post", string(o.ClientSecret)
	}
	o.Issuer = runProvider(t, client)
	v, err := signin.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: v.Pages(), ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	return &oidcRig{t, v}
}

// clientCertificate makes what an administrator uploads, and the same as a JWK.
func clientCertificate(t *testing.T) (signin.Secret, map[string]any) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "countersign"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	return signin.Secret(text),
		map[string]any{"kty": "RSA", "alg": "PS256", "use": "sig", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
}

// runProvider starts the provider and returns its issuer. It ends with the test.
func runProvider(t *testing.T, client map[string]any) string {
	t.Helper()
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	modules, err := filepath.Abs(filepath.Join("..", "..", "bin", "node", "node_modules")) // scripts/e2e-deps puts them there
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("testdata", "oidc", "provider.mjs"))
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "NODE_PATH=" + modules, "CLIENT=" + encode(client),
		"PEOPLE=" + encode(map[string]any{alice: map[string]string{"oid": aliceOID, "tid": homeTID}, bob: map[string]string{"oid": bobOID, "tid": homeTID}}),
	}
	var talk bytes.Buffer
	cmd.Stderr = &talk
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it was killed, if the test's context ended first
		if t.Failed() {
			t.Logf("the provider said: %s", talk.String())
		}
	})
	lines := bufio.NewScanner(stdout)
	var said struct{ Issuer string }
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &said) != nil || said.Issuer == "" {
		_ = stdin.Close()
		_ = cmd.Wait()
		t.Fatalf("the provider did not start: %s", talk.String())
	}
	return said.Issuer
}

func (r *oidcRig) ask() providers.Attempt {
	r.Helper()
	a, err := r.v.Start(r.Context(), providers.Challenge{
		HoldID: "3f6c0c4e2b0f4e0b9d7a1c2d3e4f5a6b", Person: providers.Person{ID: alice, ObjectID: aliceOID, TenantID: homeTID},
		Title: "Reset the password of bob@contoso.com",
	})
	if err != nil || !a.Asked {
		r.Fatalf("Start = %+v, %v; want somebody asked", a, err)
	}
	return a
}

// surfer is a browser without scripts that keeps cookies and follows redirects.
type surfer struct {
	*testing.T
	http.Client
}

func newSurfer(t *testing.T) *surfer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &surfer{t, http.Client{Jar: jar, Timeout: time.Minute}}
}

var (
	hiddenToken = regexp.MustCompile(`name="token" value="([^"]+)"`)
	leave       = regexp.MustCompile(`http-equiv="refresh" content="0; url=([^"]+)"`)
)

func (s *surfer) send(method, address string, form url.Values) (body, at string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		s.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := s.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(b), resp.Request.URL.String()
}

// answer presses a button, signs in as somebody with a factor, and returns the page at the end.
func (s *surfer) answer(a providers.Attempt, button, as, factor string) string {
	s.Helper()
	page, _ := s.send(http.MethodGet, a.URL, nil)
	token := hiddenToken.FindStringSubmatch(page)
	if token == nil {
		s.Fatalf("the page has no form: %s", page)
	}
	page, _ = s.send(http.MethodPost, a.URL, url.Values{"token": {html.UnescapeString(token[1])}, "answer": {button}})
	to := leave.FindStringSubmatch(page)
	if to == nil {
		s.Fatalf("the page leads nowhere: %s", page)
	}
	page, at := s.send(http.MethodGet, html.UnescapeString(to[1]), nil)
	if strings.Contains(at, "/interaction/") {
		page, _ = s.send(http.MethodPost, at, url.Values{"login": {as}, "factor": {factor}})
	}
	return page
}

func TestACertifiedOpenIDProviderProvesTheRequester(t *testing.T) {
	for name, certificate := range map[string]bool{"secret": false, "certificate": true} {
		t.Run(name, func(t *testing.T) {
			r := startOIDC(t, certificate)
			if err := r.v.Check(t.Context()); err != nil {
				t.Errorf("Check = %v, want nil", err)
			}
			for _, tt := range []struct {
				button, factor, says string
				want                 providers.Verdict
			}{
				{"approve", "mfa", "<h1>Approved</h1>", providers.Approved},
				{"approve", "pwd", "<h1>Not approved</h1>", providers.Unavailable},
				{"deny", "pwd", "<h1>Denied</h1>", providers.Denied},
				{"report", "pwd", "<h1>Reported</h1>", providers.Fraud},
			} {
				a, s := r.ask(), newSurfer(t)
				if page := s.answer(a, tt.button, bob, "mfa"); !strings.Contains(page, "<h1>That was another account</h1>") {
					t.Errorf("%s by somebody else: %s", tt.button, page)
				}
				s = newSurfer(t)
				if page := s.answer(a, "approve", alice, "cancel"); !strings.Contains(page, "<h1>You did not sign in</h1>") {
					t.Errorf("a cancelled sign-in: %s", page)
				}
				if page := s.answer(a, tt.button, alice, tt.factor); !strings.Contains(page, tt.says) {
					t.Errorf("%s with %s: %s", tt.button, tt.factor, page)
				}
				out, err := r.v.Wait(t.Context(), a.Transaction)
				if err != nil || out.Verdict != tt.want || out.ImmutableID != homeTID+"/"+aliceOID {
					t.Errorf("%s with %s: outcome = %+v, %v; want %v", tt.button, tt.factor, out, err, tt.want)
				}
				if tt.want == providers.Approved && !slices.Equal(out.AMR, []string{"pwd", "mfa"}) {
					t.Errorf("AMR = %v", out.AMR)
				}
			}
		})
	}
}

// A browser that is signed in already, with a second factor, still has to sign in anew for each approval.
func TestASessionAtTheProviderIsNotEnough(t *testing.T) {
	r := startOIDC(t, false)
	s := newSurfer(t)
	for range 2 {
		a := r.ask()
		page, _ := s.send(http.MethodGet, a.URL, nil)
		token := hiddenToken.FindStringSubmatch(page)
		page, _ = s.send(http.MethodPost, a.URL, url.Values{"token": {html.UnescapeString(token[1])}, "answer": {"approve"}})
		if _, at := s.send(http.MethodGet, html.UnescapeString(leave.FindStringSubmatch(page)[1]), nil); !strings.Contains(at, "/interaction/") {
			t.Errorf("the provider let the browser through to %s", at)
		}
		if page := s.answer(a, "approve", alice, "mfa"); !strings.Contains(page, "<h1>Approved</h1>") {
			t.Errorf("page = %s; want approved", page)
		}
	}
}
