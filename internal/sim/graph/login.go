package graph

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	graphAudience  = "https://graph.microsoft.com"
	assertionType  = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	tokenLifetime  = 3599 // seconds; what Entra answers
	typeLoginJSON  = "application/json; charset=utf-8"
	codeNoSecret   = 7000215
	codeNoApp      = 700016
	codeNoTenant   = 90002
	codeNoParam    = 900144
	codeGrant      = 70003
	codeScope      = 1002012
	codeAssertion  = 700027
	codeNoPassword = 7000216
)

// loginError is a refusal of the token endpoint (RFC 6749 §5.2, with Entra's members).
type loginError struct {
	status  int
	error   string
	code    int
	message string
}

// login answers for the login hosts.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	segs := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	tail := strings.ToLower(strings.Join(segs[min(1, len(segs)):], "/"))
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.Header().Set("x-ms-request-id", newID())
	switch {
	case r.Method == http.MethodGet && strings.EqualFold(strings.Join(segs, "/"), "common/discovery/instance"):
		s.instances(w, r)
	case r.Method == http.MethodGet && (tail == "v2.0/.well-known/openid-configuration" || tail == ".well-known/openid-configuration"):
		s.openID(w, segs[0])
	case r.Method == http.MethodGet && (tail == "discovery/v2.0/keys" || tail == "discovery/keys"):
		writeJSON(w, http.StatusOK, typeLoginJSON, s.keys.jwks())
	case tail == "oauth2/v2.0/token" && r.Method == http.MethodPost:
		s.token(w, r, segs[0])
	case tail == "oauth2/v2.0/token":
		s.writeLoginError(w, &loginError{http.StatusBadRequest, "invalid_request", codeNoParam, "The endpoint only accepts POST requests."})
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request) {
	endpoint := r.URL.Query().Get("authorization_endpoint")
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" {
		s.writeLoginError(w, &loginError{http.StatusBadRequest, "invalid_request", codeNoParam, "The request body must contain the following parameter: 'authorization_endpoint'."})
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	writeJSON(w, http.StatusOK, typeLoginJSON, map[string]any{
		"tenant_discovery_endpoint": "https://" + hostLogin + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": hostLogin, "preferred_cache": "login.windows.net",
			"aliases": []string{hostLogin, "login.windows.net", "login.microsoft.com", "sts.windows.net"},
		}},
	})
}

func (s *Server) openID(w http.ResponseWriter, tenant string) {
	if !s.knows(tenant) {
		s.writeLoginError(w, &loginError{http.StatusBadRequest, "invalid_tenant", codeNoTenant, fmt.Sprintf("Tenant '%s' not found.", tenant)})
		return
	}
	base := "https://" + hostLogin + "/" + tenant
	writeJSON(w, http.StatusOK, typeLoginJSON, map[string]any{
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"issuer":                                "https://" + hostLogin + "/" + s.opts.TenantID + "/v2.0",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"device_authorization_endpoint":         base + "/oauth2/v2.0/devicecode",
		"tenant_region_scope":                   "EU",
		"cloud_instance_name":                   "microsoftonline.com",
		"cloud_graph_host_name":                 "graph.windows.net",
		"msgraph_host":                          hostGraph,
	})
}

func (s *Server) token(w http.ResponseWriter, r *http.Request, tenant string) {
	if err := r.ParseForm(); err != nil {
		s.writeLoginError(w, &loginError{http.StatusBadRequest, "invalid_request", codeNoParam, "The request body is malformed."})
		return
	}
	aud, refused := s.grant(r, tenant)
	if refused != nil {
		s.writeLoginError(w, refused)
		return
	}
	text, err := s.Token(Claims{Audience: aud})
	if err != nil {
		http.Error(w, "cannot sign", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, typeLoginJSON, map[string]any{
		"token_type": "Bearer", "expires_in": tokenLifetime, "ext_expires_in": tokenLifetime, "access_token": text,
	})
}

// grant checks a client-credentials request and returns the audience that it asks a token for.
func (s *Server) grant(r *http.Request, tenant string) (string, *loginError) {
	form := r.PostForm
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	for name, value := range map[string]string{"grant_type": form.Get("grant_type"), "client_id": id, "scope": form.Get("scope")} {
		if value == "" {
			return "", &loginError{http.StatusBadRequest, "invalid_request", codeNoParam, "The request body must contain the following parameter: '" + name + "'."}
		}
	}
	switch {
	case !s.knows(tenant):
		return "", &loginError{http.StatusBadRequest, "invalid_request", codeNoTenant, fmt.Sprintf("Tenant '%s' not found.", tenant)}
	case form.Get("grant_type") != "client_credentials":
		return "", &loginError{http.StatusBadRequest, "unsupported_grant_type", codeGrant, "The app requested an unsupported grant type '" + form.Get("grant_type") + "'."}
	case id != s.opts.ClientID:
		return "", &loginError{http.StatusBadRequest, "unauthorized_client", codeNoApp, "Application with identifier '" + id + "' was not found in the directory."}
	}
	resource, ok := resourceOf(form.Get("scope"))
	if !ok {
		return "", &loginError{http.StatusBadRequest, "invalid_scope", codeScope, "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier."}
	}
	if assertion := form.Get("client_assertion"); assertion != "" {
		return resource, s.checkAssertion(form.Get("client_assertion_type"), assertion)
	}
	switch {
	case secret == "":
		return "", &loginError{http.StatusUnauthorized, "invalid_client", codeNoPassword, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
	case subtle.ConstantTimeCompare([]byte(secret), []byte(s.opts.ClientSecret)) != 1:
		return "", &loginError{http.StatusUnauthorized, "invalid_client", codeNoSecret, "Invalid client secret provided."}
	}
	return resource, nil
}

// checkAssertion checks everything about a client assertion but its signature: the simulator has no certificate on file.
func (s *Server) checkAssertion(kind, assertion string) *loginError {
	refused := &loginError{http.StatusUnauthorized, "invalid_client", codeAssertion, "The certificate with identifier used to sign the client assertion is not registered on application."}
	if kind != assertionType {
		return refused
	}
	c, err := parseClaims(assertion)
	if err != nil || c.Issuer != s.opts.ClientID || c.Subject != s.opts.ClientID || s.now().Unix() >= c.Expires {
		return refused
	}
	return nil
}

func (s *Server) knows(tenant string) bool {
	return slices.Contains([]string{s.opts.TenantID, "common", "organizations", "contoso.com", "contoso.onmicrosoft.com"}, strings.ToLower(tenant))
}

func (s *Server) writeLoginError(w http.ResponseWriter, e *loginError) {
	trace, correlation := newID(), newID()
	stamp := s.now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, e.status, typeLoginJSON, map[string]any{
		"error": e.error,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			e.code, e.message, trace, correlation, stamp),
		"error_codes": []int{e.code}, "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://%s/error?code=%d", hostLogin, e.code),
	})
}

// resourceOf returns the one resource that a scope asks for. MSAL's libraries add OpenID Connect's own scopes to every
// request, client credentials included, and Entra passes over them.
func resourceOf(scope string) (string, bool) {
	var resource string
	for _, one := range strings.Fields(scope) {
		switch one {
		case "openid", "offline_access", "profile", "email":
			continue
		}
		r, ok := strings.CutSuffix(one, "/.default")
		if !ok || resource != "" {
			return "", false
		}
		resource = r
	}
	return resource, resource != ""
}
