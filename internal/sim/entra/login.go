package entra

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const typeJSON = "application/json; charset=utf-8"

// loginError is a refusal of the login service: RFC 6749 §5.2 with Entra's members.
type loginError struct {
	status  int
	error   string
	code    int
	message string
}

func refuse(status int, kind string, code int, format string, a ...any) *loginError {
	return &loginError{status, kind, code, fmt.Sprintf(format, a...)}
}

// login answers for the login host.
func (s *Server) login(w http.ResponseWriter, r *http.Request, _ []byte) {
	tenant, tail, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	tail = strings.ToLower(tail)
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("x-ms-request-id", newID())
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	post := r.Method == http.MethodPost
	switch tail {
	case "discovery/instance":
		s.instances(w, r)
	case "v2.0/.well-known/openid-configuration", ".well-known/openid-configuration":
		s.openID(w, r, tenant, strings.HasPrefix(tail, "v2.0"))
	case "discovery/v2.0/keys", "discovery/keys":
		writeJSON(w, http.StatusOK, typeJSON, s.keys.jwks(s.issuer(r)))
	case "oauth2/token", "oauth2/v2.0/token":
		if !post {
			s.writeLoginError(w, refuse(http.StatusBadRequest, "invalid_request", 900561, "The endpoint only accepts POST, OPTIONS requests. Received a %s request.", r.Method))
			return
		}
		s.token(w, r, tenant, tail == "oauth2/v2.0/token")
	case "oauth2/v2.0/authorize":
		s.authorize(w, r, tenant)
	case "sim/login":
		if !post {
			http.Error(w, "The form is sent by POST.", http.StatusMethodNotAllowed)
			return
		}
		s.submit(w, r)
	default:
		http.NotFound(w, r)
	}
}

// issuer is that of v2.0 tokens.
func (s *Server) issuer(r *http.Request) string {
	return base(s.o.LoginURL, r) + "/" + s.o.TenantID + "/v2.0"
}

func (s *Server) instances(w http.ResponseWriter, r *http.Request) {
	u, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil || u.Path == "" {
		s.writeLoginError(w, refuse(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'authorization_endpoint'."))
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	me := base(s.o.LoginURL, r)
	host := me[strings.Index(me, "//")+2:]
	writeJSON(w, http.StatusOK, typeJSON, map[string]any{
		"tenant_discovery_endpoint": me + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata":                  []any{map[string]any{"preferred_network": host, "preferred_cache": host, "aliases": []string{host}}},
	})
}

func (s *Server) openID(w http.ResponseWriter, r *http.Request, tenant string, v2 bool) {
	if !s.knows(tenant, "common", "organizations") {
		s.writeLoginError(w, s.noTenant(tenant))
		return
	}
	me, path, keys := base(s.o.LoginURL, r)+"/"+tenant, "/oauth2", "/discovery/keys"
	issuer := "https://sts.windows.net/" + s.o.TenantID + "/"
	if v2 {
		path, keys, issuer = "/oauth2/v2.0", "/discovery/v2.0/keys", s.issuer(r)
		if !s.knows(tenant) { // shared by all tenants: a template that no token ever matches
			issuer = base(s.o.LoginURL, r) + "/{tenantid}/v2.0"
		}
	}
	writeJSON(w, http.StatusOK, typeJSON, map[string]any{
		"token_endpoint":                        me + path + "/token",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"},
		"jwks_uri":                              me + keys,
		"response_modes_supported":              []string{"query", "fragment", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"issuer":                                issuer,
		"request_uri_parameter_supported":       false,
		"userinfo_endpoint":                     "https://graph.microsoft.com/oidc/userinfo",
		"authorization_endpoint":                me + path + "/authorize",
		"device_authorization_endpoint":         me + path + "/devicecode",
		"http_logout_supported":                 true,
		"frontchannel_logout_supported":         true,
		"end_session_endpoint":                  me + path + "/logout",
		"claims_supported":                      []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"},
		"tenant_region_scope":                   "EU",
		"cloud_instance_name":                   "microsoftonline.com",
		"cloud_graph_host_name":                 "graph.windows.net",
		"msgraph_host":                          "graph.microsoft.com",
	})
}

func (s *Server) noTenant(tenant string) *loginError {
	return refuse(http.StatusBadRequest, "invalid_request", 90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", tenant)
}

// token answers both token endpoints. v1 takes a resource and writes its numbers as strings.
func (s *Server) token(w http.ResponseWriter, r *http.Request, tenant string, v2 bool) {
	answer, refused := s.grantToken(r, tenant, v2)
	if refused != nil {
		s.writeLoginError(w, refused)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, answer)
}

func (s *Server) grantToken(r *http.Request, tenant string, v2 bool) (map[string]any, *loginError) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(strings.ToLower(kind)) != "application/x-www-form-urlencoded" {
		return nil, missing("grant_type")
	}
	if err := r.ParseForm(); err != nil {
		return nil, refuse(http.StatusBadRequest, "invalid_request", 900144, "The request body is malformed.")
	}
	grantType := r.PostForm.Get("grant_type")
	switch {
	case grantType == "":
		return nil, missing("grant_type")
	case !s.knows(tenant, "common", "organizations"):
		return nil, s.noTenant(tenant)
	case grantType == "client_credentials":
		return s.clientCredentials(r, tenant, v2)
	case grantType == "authorization_code" && v2:
		return s.redeem(r, tenant)
	default:
		return nil, refuse(http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '%s'.", grantType)
	}
}

func missing(name string) *loginError {
	return refuse(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: '%s'.", name)
}

func (s *Server) clientCredentials(r *http.Request, tenant string, v2 bool) (map[string]any, *loginError) {
	resource := r.PostForm.Get("resource")
	if v2 {
		scope := r.PostForm.Get("scope")
		if scope == "" {
			return nil, missing("scope")
		}
		// MSAL adds OpenID Connect's own scopes to every request; Entra passes over them.
		var wanted []string
		for one := range strings.FieldsSeq(scope) {
			if !slices.Contains([]string{"openid", "profile", "offline_access", "email"}, one) {
				wanted = append(wanted, one)
			}
		}
		if len(wanted) != 1 || !strings.HasSuffix(wanted[0], "/.default") {
			return nil, refuse(http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", scope)
		}
		resource = strings.TrimSuffix(wanted[0], "/.default")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, refused := s.clientLocked(r, tenant)
	if refused != nil {
		return nil, refused
	}
	if resource == "" { // without one, v1 answers for AAD Graph's successor; nothing of ours asks for it
		return nil, missing("resource")
	}
	aud, refused := s.resourceLocked(resource)
	if refused != nil {
		return nil, refused
	}
	text, err := s.accessTokenLocked(AccessToken{ClientID: a.ClientID, Audience: aud})
	if err != nil {
		return nil, refuse(http.StatusInternalServerError, "server_error", 90033, "A transient error has occurred. Please try again.")
	}
	if v2 {
		return map[string]any{"token_type": "Bearer", "expires_in": tokenSeconds, "ext_expires_in": tokenSeconds, "access_token": text}, nil
	}
	now := s.now().Unix()
	return map[string]any{
		"token_type": "Bearer", "expires_in": fmt.Sprint(tokenSeconds), "ext_expires_in": fmt.Sprint(tokenSeconds),
		"expires_on": fmt.Sprint(now + tokenSeconds), "not_before": fmt.Sprint(now - 300), "resource": aud, "access_token": text,
	}, nil
}

func (s *Server) writeLoginError(w http.ResponseWriter, e *loginError) {
	trace, correlation := newID(), newID()
	stamp := s.now().UTC().Format("2006-01-02 15:04:05Z")
	writeJSON(w, e.status, typeJSON, map[string]any{
		"error":             e.error,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", e.code, e.message, trace, correlation, stamp),
		"error_codes":       []int{e.code}, "timestamp": stamp, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", e.code),
	})
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "cannot encode answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client left; nobody is there to be told
}
