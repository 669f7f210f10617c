package entra

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (s *Server) connectorAudiences() []string {
	return append([]string{
		ConnectorResource,
		"https://adnotifications.windowsazure.us/StrongAuthenticationService.svc/Connector",
		"https://adnotifications.windowsazure.cn/StrongAuthenticationService.svc/Connector",
	}, s.o.ConnectorAudiences...)
}

func (s *Server) graphAudiences() []string {
	return append([]string{
		GraphResource, GraphID, "https://graph.microsoft.us", "https://dod-graph.microsoft.us", "https://microsoftgraph.chinacloudapi.cn",
	}, s.o.GraphAudiences...)
}

// resourceLocked finds what a token is asked for, and whether its service principal may be asked.
func (s *Server) resourceLocked(resource string) (string, *loginError) {
	trimmed := strings.TrimRight(resource, "/")
	owner := ""
	switch {
	case slices.Contains(s.connectorAudiences(), resource), strings.EqualFold(resource, MFAConnectorID):
		owner = MFAConnectorID
	case slices.Contains(s.graphAudiences(), trimmed):
		owner, resource = GraphID, trimmed
	}
	a := s.appLocked(owner)
	if a == nil {
		return "", refuse(http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", resource, s.o.Domains[0])
	}
	if a.Disabled {
		return "", refuse(http.StatusBadRequest, "invalid_resource", 500014, "The service principal for resource '%s' is disabled. This indicate that a subscription within the tenant has lapsed, or that the administrator for this tenant has disabled the application, preventing tokens from being issued for it.", resource)
	}
	return resource, nil
}

// AccessToken says what a token made by Mint is for. The zero value is an app-only one of the default application for Graph.
type AccessToken struct {
	ClientID string   // "" is DefaultClientID
	Audience string   // "" is Graph
	TenantID string   // "" is the tenant's
	UPN      string   // makes it a delegated one, of this person
	Scopes   []string // of a delegated one; nil: those of the application
	Roles    []string // of an app-only one; nil: those of the application
	Expires  time.Duration
	WrongKey bool
}

// Mint makes an access token outside of any flow, as an administrator's own tools would hold one.
func (s *Server) Mint(t AccessToken) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accessTokenLocked(t)
}

func (s *Server) accessTokenLocked(t AccessToken) (string, error) {
	t.ClientID, t.Audience, t.TenantID = cmp.Or(t.ClientID, DefaultClientID), cmp.Or(t.Audience, GraphResource), cmp.Or(t.TenantID, s.o.TenantID)
	t.Expires = cmp.Or(t.Expires, tokenSeconds*time.Second)
	now := s.now()
	object := newID()
	if a := s.appLocked(t.ClientID); a != nil {
		object = a.ObjectID
		if t.Roles == nil && slices.Contains(s.graphAudiences(), t.Audience) {
			t.Roles = a.Roles
		}
		if t.Scopes == nil {
			t.Scopes = a.Scopes
		}
	}
	m := map[string]any{
		"aud": t.Audience, "iss": "https://sts.windows.net/" + t.TenantID + "/", "idp": "https://sts.windows.net/" + t.TenantID + "/",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(t.Expires).Unix(), "aio": "k2BgYHj6/DP/", "appid": t.ClientID, "appidacr": "1",
		"oid": object, "sub": object, "rh": "1.AAAA", "tid": t.TenantID, "uti": b64([]byte(newID()))[:22], "ver": "1.0",
	}
	if p := s.personLocked(t.UPN); p != nil {
		m["oid"], m["sub"], m["upn"], m["scp"], m["idtyp"] = p.ID, b64([]byte(p.ID)), p.UPN, strings.Join(t.Scopes, " "), "user"
	} else {
		m["idtyp"] = "app"
		if len(t.Roles) > 0 {
			m["roles"] = t.Roles
		}
	}
	key := s.keys
	if t.WrongKey {
		var err error
		if key, err = s.evil(); err != nil {
			return "", err
		}
	}
	return key.sign(key.header(), m)
}

var (
	errNoToken = errors.New("no bearer token")
	errExpired = errors.New("token is expired")
	errForeign = errors.New("token is not for this service")
)

// bearer checks a request's access token for one of the audiences.
func (s *Server) bearer(h http.Header, audiences []string) (*jwt, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return nil, errNoToken
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return nil, errNoToken
	}
	t, err := parseJWT(text)
	if err != nil {
		return nil, err
	}
	if err := t.verify(&s.keys.key.PublicKey); err != nil {
		return nil, err
	}
	if exp, ok := t.number("exp"); !ok || !s.now().Before(time.Unix(exp, 0)) {
		return nil, errExpired
	}
	if !slices.Contains(audiences, t.text("aud")) {
		return nil, errForeign
	}
	return t, nil
}
