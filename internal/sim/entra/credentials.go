package entra

import (
	"crypto"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	assertionType   = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	exchange        = "api://AzureADTokenExchange"
	tokenSeconds    = 3599
	assertionLeeway = 5 * time.Minute
)

// clientLocked authenticates the client of a token request, by secret, certificate or federated token.
func (s *Server) clientLocked(r *http.Request, tenant string) (*app, *loginError) {
	form := r.PostForm
	id, text, basic := r.BasicAuth()
	if basic { // RFC 6749 §2.3.1: each half is form-encoded first
		id, text = unescape(id), unescape(text)
	} else {
		id, text = form.Get("client_id"), form.Get("client_secret")
	}
	if id == "" {
		return nil, missing("client_id")
	}
	a := s.appLocked(id)
	if a == nil {
		return nil, refuse(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", id, s.o.TenantID)
	}
	if a.Disabled {
		return nil, refuse(http.StatusBadRequest, "unauthorized_client", 7000112, "Application '%s'(%s) is disabled.", a.ClientID, a.DisplayName)
	}
	if assertion := form.Get("client_assertion"); assertion != "" {
		if form.Get("client_assertion_type") != assertionType {
			return nil, refuse(http.StatusUnauthorized, "invalid_client", 50027, "JWT token is invalid or malformed.")
		}
		return a, s.assertionLocked(r, tenant, a, assertion)
	}
	if text == "" {
		return nil, refuse(http.StatusUnauthorized, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	}
	return a, s.secretLocked(a, text)
}

func unescape(v string) string {
	if out, err := url.QueryUnescape(v); err == nil {
		return out
	}
	return v
}

func (s *Server) secretLocked(a *app, text string) *loginError {
	now := s.now()
	for _, c := range a.secrets {
		if now.Before(c.known) || subtle.ConstantTimeCompare([]byte(c.text), []byte(text)) != 1 {
			continue
		}
		if now.Before(c.start) || !now.Before(c.end) {
			return refuse(http.StatusUnauthorized, "invalid_client", 7000222, "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.", a.ClientID)
		}
		return nil
	}
	return refuse(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", a.ClientID)
}

func (s *Server) assertionLocked(r *http.Request, tenant string, a *app, text string) *loginError {
	t, err := parseJWT(text)
	if err != nil {
		return refuse(http.StatusUnauthorized, "invalid_client", 50027, "JWT token is invalid or malformed.")
	}
	if iss := t.text("iss"); len(a.Federated) > 0 && !strings.EqualFold(iss, a.ClientID) {
		return s.federatedLocked(a, t)
	}
	if !strings.EqualFold(t.text("iss"), a.ClientID) || !strings.EqualFold(t.text("sub"), a.ClientID) {
		return refuse(http.StatusUnauthorized, "invalid_client", 700021, "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials.")
	}
	if refused := s.signedLocked(a, t); refused != nil {
		return refused
	}
	if !slices.Contains(s.audiences(r, tenant), t.text("aud")) {
		return refuse(http.StatusUnauthorized, "invalid_client", 700023, "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials.")
	}
	if refused := s.inTime(t); refused != nil {
		return refused
	}
	jti := t.text("jti")
	if jti == "" || s.o.RefuseReplay && s.jtis[jti] {
		return refuse(http.StatusUnauthorized, "invalid_client", 700025, "Client assertion contains an invalid or repeated 'jti'.")
	}
	s.jtis[jti] = true
	return nil
}

// signedLocked finds the certificate that the header names and checks the signature under it.
func (s *Server) signedLocked(a *app, t *jwt) *loginError {
	x5t, _ := t.header["x5t"].(string)
	x5tS256, _ := t.header["x5t#S256"].(string)
	if alg := t.header["alg"]; alg != "RS256" && alg != "PS256" {
		return refuse(http.StatusUnauthorized, "invalid_client", 5002738, "Invalid JWT token. 'alg' %v is not an allowed algorithm. Expected one of the following: RS256, PS256.", alg)
	}
	for _, c := range a.certs {
		one, two := c.thumbprints()
		if s.now().Before(c.known) || !slices.Contains(one, x5t) && !slices.Contains(two, x5tS256) {
			continue
		}
		switch {
		case x5t != "" && !slices.Contains(one, x5t), x5tS256 != "" && !slices.Contains(two, x5tS256):
			return refuse(http.StatusUnauthorized, "invalid_client", 700027, "Client assertion contains an invalid signature. [Reason - The key thumbprints do not agree.]")
		case !s.now().Before(c.end):
			return refuse(http.StatusUnauthorized, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is expired on application. [Reason - The key used is expired., Found key 'Start=%s, End=%s']", c.start.UTC().Format("01/02/2006 15:04:05"), c.end.UTC().Format("01/02/2006 15:04:05"))
		case t.verify(c.cert.PublicKey) != nil:
			return refuse(http.StatusUnauthorized, "invalid_client", 700027, "Client assertion contains an invalid signature. [Reason - The key was found, but use of the key to verify the signature failed., Thumbprint of key used by client: '%s']", x5t+x5tS256)
		}
		return nil
	}
	return refuse(http.StatusUnauthorized, "invalid_client", 700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '%s', Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '%s'.]", x5t+x5tS256, a.ClientID)
}

// audiences are what an assertion may be made out to: either token endpoint or the issuer, by either name of the tenant.
func (s *Server) audiences(r *http.Request, tenant string) []string {
	var out []string
	for _, name := range []string{tenant, s.o.TenantID} {
		me := base(s.o.LoginURL, r) + "/" + name
		out = append(out, me+"/oauth2/token", me+"/oauth2/v2.0/token", me+"/v2.0")
	}
	return out
}

func (s *Server) inTime(t *jwt) *loginError {
	now := s.now()
	exp, ok := t.number("exp")
	nbf, has := t.number("nbf")
	if !ok || !now.Before(time.Unix(exp, 0).Add(assertionLeeway)) || has && now.Add(assertionLeeway).Before(time.Unix(nbf, 0)) {
		return refuse(http.StatusUnauthorized, "invalid_client", 700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.",
			now.UTC().Format(time.RFC3339), time.Unix(nbf, 0).UTC().Format(time.RFC3339), time.Unix(exp, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

func (s *Server) federatedLocked(a *app, t *jwt) *loginError {
	iss, sub := t.text("iss"), t.text("sub")
	for _, f := range a.Federated {
		if f.Issuer != iss || f.Subject != sub {
			continue
		}
		aud := f.Audience
		if aud == "" {
			aud = exchange
		}
		if !slices.Contains(t.list("aud"), aud) {
			return refuse(http.StatusUnauthorized, "invalid_client", 700212, "No matching federated identity record found for presented assertion audience '%s'.", strings.Join(t.list("aud"), " "))
		}
		if !slices.ContainsFunc(f.Keys, func(k crypto.PublicKey) bool { return t.verify(k) == nil }) {
			return refuse(http.StatusUnauthorized, "invalid_client", 50013, "Assertion failed signature validation. [Reason - The key was not found.]")
		}
		return s.inTime(t)
	}
	return refuse(http.StatusUnauthorized, "invalid_client", 700213, "No matching federated identity record found for presented assertion subject '%s'. Check your federated identity credential Subject, Audience and Issuer against the presented assertion.", sub)
}
