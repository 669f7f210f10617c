package microsoft365

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// mfaClient is the Azure Multi-Factor Auth Client, whose name the Connector lets callers use.
const mfaClient = "981f26a1-7f43-403b-a875-f8b09b8cd720"

const maxToken = 64 << 10

// tokens gets tokens for the Connector and keeps the newest. The Connector is called with the first version of Entra's token
// endpoint, which MSAL does not speak.
type tokens struct {
	client   *http.Client
	url      string
	resource string
	cert     *pair // either this
	secret   Secret
	now      func() time.Time

	gate  chan struct{} // holds one element while nobody fetches; guards what follows
	token string
	until time.Time
}

func newTokens(o Options, at endpoints, client *http.Client) (*tokens, error) {
	t := &tokens{
		client: client, url: at.login + "/" + strings.ToLower(o.TenantID) + "/oauth2/token", resource: at.resource,
		secret: o.Connector.Secret, now: o.Now, gate: make(chan struct{}, 1),
	}
	switch {
	case (o.Connector.Secret == "") == (o.Connector.Certificate == ""):
		return nil, errors.New("microsoft365: connector needs either a certificate or a secret")
	case o.Connector.Certificate != "":
		p, err := parsePair(o.Connector.Certificate)
		if err != nil {
			return nil, fmt.Errorf("microsoft365: connector.certificate: %w", err)
		}
		t.cert = &p
	}
	t.gate <- struct{}{}
	return t, nil
}

// get returns a token that is good for some minutes more.
func (t *tokens) get(ctx context.Context) (string, error) {
	select {
	case <-t.gate:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { t.gate <- struct{}{} }()
	if t.token != "" && t.now().Before(t.until) {
		return t.token, nil
	}
	token, lifetime, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.token, t.until = token, t.now().Add(lifetime-min(lifetime/4, 5*time.Minute))
	return token, nil
}

// drop forgets a token that the Connector did not take.
func (t *tokens) drop(ctx context.Context, token string) {
	select {
	case <-t.gate:
	case <-ctx.Done():
		return
	}
	if t.token == token {
		t.token = ""
	}
	t.gate <- struct{}{}
}

func (t *tokens) fetch(ctx context.Context) (string, time.Duration, error) {
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {mfaClient}, "resource": {t.resource}, "scope": {"openid"},
	}
	if t.cert == nil {
		form.Set("client_secret", string(t.secret))
	} else {
		assertion, err := t.assertion()
		if err != nil {
			return "", 0, err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", assertion)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, errors.New("microsoft365: token: malformed request") // the cause holds the URL
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := t.client.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("microsoft365: token: %w", cause(err))
	}
	defer resp.Body.Close() //nolint:errcheck // it was read or is given up
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0, fmt.Errorf("microsoft365: token: %w", cause(err))
	}
	if resp.StatusCode != http.StatusOK {
		return "", 0, &Error{Call: "token", Status: resp.StatusCode, Code: tokenFault(body), RetryAfter: retryAfter(resp.Header)}
	}
	return readToken(body)
}

// assertion says, signed by the certificate's key, that we are the MFA client (RFC 7523), in the form that MSAL uses for
// Entra: PS256, with the certificate's SHA-256 thumbprint.
func (t *tokens) assertion() (string, error) {
	now := t.now()
	token := jwt.NewWithClaims(jwt.SigningMethodPS256, jwt.MapClaims{
		"aud": t.url, "iss": mfaClient, "sub": mfaClient, "jti": rand.Text(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	})
	print := sha256.Sum256(t.cert.chain[0].Raw)
	token.Header["x5t#S256"] = base64.RawURLEncoding.EncodeToString(print[:])
	signed, err := token.SignedString(t.cert.key)
	if err != nil {
		return "", errors.New("microsoft365: token: cannot sign with the connector's certificate") // a fault of the key's stays in
	}
	return signed, nil
}

var (
	bearerShape = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)
	aadsts      = regexp.MustCompile(`\bAADSTS[0-9]{1,10}\b`)
	codeShape   = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,60}$`)
)

func readToken(body []byte) (string, time.Duration, error) {
	var answer struct {
		Type    string          `json:"token_type"`
		Token   string          `json:"access_token"`
		Expires json.RawMessage `json:"expires_in"` // a string in this version of the endpoint, a number in the other
	}
	fault := &Error{Call: "token", Status: http.StatusOK}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", 0, fault
	}
	seconds, err := strconv.Atoi(strings.Trim(string(answer.Expires), `"`))
	if err != nil || seconds <= 0 || !strings.EqualFold(answer.Type, "Bearer") || len(answer.Token) > maxToken || !bearerShape.MatchString(answer.Token) {
		return "", 0, fault
	}
	return answer.Token, time.Duration(min(seconds, 24*60*60)) * time.Second, nil
}

// tokenFault finds the code in a refusal: Entra's number if there is one, else the OAuth error. Texts stay out.
func tokenFault(body []byte) string {
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	if code := aadsts.FindString(answer.Description); code != "" {
		return code
	}
	if codeShape.MatchString(answer.Error) {
		return answer.Error
	}
	return ""
}
