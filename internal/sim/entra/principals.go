package entra

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // customKeyIdentifier is a SHA-1 thumbprint by definition
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (s *Server) principalsLocked(c *call) (int, any, error) {
	writes := c.method != http.MethodGet
	switch {
	case writes && !c.may("Application.ReadWrite.All", "Application.ReadWrite.OwnedBy", "Directory.ReadWrite.All"):
		return 0, nil, denied()
	case !c.may("Application.Read.All", "Application.ReadWrite.All", "Application.ReadWrite.OwnedBy", "Directory.Read.All", "Directory.ReadWrite.All"):
		return 0, nil, denied()
	case len(c.path) == 1 && !writes:
		var all []map[string]any
		for _, a := range s.apps {
			all = append(all, a.entity(false))
		}
		return s.list(c, "servicePrincipals", all)
	case len(c.path) == 1 && c.method == http.MethodPost:
		return s.createPrincipalLocked(c)
	case len(c.path) == 1:
		return 0, nil, notAllowed()
	}
	a := s.principalLocked(c.path[1], c.byKey)
	if a == nil {
		return 0, nil, notFound(c.path[1])
	}
	action := strings.TrimPrefix(c.at(2), "microsoft.graph.")
	switch {
	case action == "" && c.method == http.MethodGet:
		return c.one("servicePrincipals", a.entity(strings.Contains(strings.ToLower(c.query.Get("$select")), "keycredentials")))
	case action == "" && c.method == http.MethodPatch:
		return s.patchPrincipalLocked(c, a)
	case action == "approleassignments" && c.method == http.MethodGet:
		return s.list(c, "servicePrincipals('"+c.path[1]+"')/appRoleAssignments", s.assignmentsLocked(a))
	case action == "oauth2permissiongrants" && c.method == http.MethodGet:
		return s.list(c, "oauth2PermissionGrants", s.grantEntitiesLocked(a))
	case c.method == http.MethodPost && action == "addpassword":
		return s.addPasswordLocked(c, a)
	case c.method == http.MethodPost && action == "removepassword":
		return removePassword(c, a)
	case c.method == http.MethodPost && action == "addkey":
		return s.addKeyLocked(c, a)
	default:
		return 0, nil, noSegment(c.path[len(c.path)-1])
	}
}

func (s *Server) principalLocked(key, byKey string) *app {
	if strings.EqualFold(byKey, "appId") {
		return s.appLocked(key)
	}
	for _, a := range s.apps {
		if strings.EqualFold(a.ObjectID, key) {
			return a
		}
	}
	return nil
}

func (a *app) entity(withKeys bool) map[string]any {
	keys, passwords := []any{}, []any{}
	for _, k := range a.certs {
		keys = append(keys, k.entity(withKeys))
	}
	for _, p := range a.secrets {
		passwords = append(passwords, p.entity())
	}
	e := map[string]any{
		"id": a.ObjectID, "appId": a.ClientID, "displayName": a.DisplayName, "appDisplayName": a.DisplayName, "accountEnabled": !a.Disabled,
		"servicePrincipalType": "Application", "servicePrincipalNames": []string{a.ClientID}, "keyCredentials": keys, "passwordCredentials": passwords,
	}
	if a.ClientID == GraphID {
		var roles []any
		for _, name := range graphRoles() {
			roles = append(roles, map[string]any{"id": roleID(name), "value": name, "isEnabled": true, "allowedMemberTypes": []string{"Application"}})
		}
		e["appRoles"] = roles
	}
	return e
}

func (k *certificate) entity(withKey bool) map[string]any {
	sum := sha1.Sum(k.der) //nolint:gosec // see the import
	e := map[string]any{
		"keyId": k.keyID, "type": "AsymmetricX509Cert", "usage": "Verify", "displayName": k.name, "key": nil,
		"startDateTime": k.start.UTC().Format(time.RFC3339), "endDateTime": k.end.UTC().Format(time.RFC3339),
		"customKeyIdentifier": base64.StdEncoding.EncodeToString(sum[:]),
	}
	if withKey { // only a single object that is asked for it by $select (D)
		e["key"] = base64.StdEncoding.EncodeToString(k.der)
	}
	return e
}

func (p *secret) entity() map[string]any {
	return map[string]any{
		"keyId": p.keyID, "displayName": p.name, "secretText": nil, "hint": p.text[:min(3, len(p.text))], "customKeyIdentifier": nil,
		"startDateTime": p.start.UTC().Format(time.RFC3339), "endDateTime": p.end.UTC().Format(time.RFC3339),
	}
}

func (s *Server) createPrincipalLocked(c *call) (int, any, error) {
	var in struct{ AppID string }
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	switch {
	case !isGUID(in.AppID):
		return 0, nil, badRequest("The appId '%s' of the service principal does not reference a valid application object.", in.AppID)
	case s.appLocked(in.AppID) != nil:
		return 0, nil, &odataError{http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "The service principal cannot be created, updated, or restored because the service principal name " + in.AppID + " is already in use."}
	case !strings.EqualFold(in.AppID, MFAClientID): // the only other application that exists anywhere
		return 0, nil, badRequest("The appId '%s' of the service principal does not reference a valid application object.", in.AppID)
	}
	a := &app{App: App{ClientID: MFAClientID, ObjectID: newID(), DisplayName: "Azure Multi-Factor Auth Client", Disabled: s.o.MFAClientDisabled}}
	s.apps = append(s.apps, a)
	e := a.entity(false)
	e["@odata.context"] = c.context("servicePrincipals/$entity")
	return http.StatusCreated, e, nil
}

type keyCredential struct {
	KeyID, Type, Usage, DisplayName, Key string
	StartDateTime, EndDateTime           *time.Time
}

// patchPrincipalLocked replaces the whole list of certificates, as PATCH does: what is left out is gone.
func (s *Server) patchPrincipalLocked(c *call, a *app) (int, any, error) {
	var in struct {
		KeyCredentials *[]keyCredential
		AccountEnabled *bool
	}
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	if in.KeyCredentials != nil {
		var next []*certificate
		for _, k := range *in.KeyCredentials {
			n, err := s.certificateLocked(a, k)
			if err != nil {
				return 0, nil, err
			}
			next = append(next, n)
		}
		a.certs = next
	}
	if in.AccountEnabled != nil {
		a.Disabled = !*in.AccountEnabled
	}
	return http.StatusNoContent, nil, nil
}

func (s *Server) certificateLocked(a *app, k keyCredential) (*certificate, error) {
	i := slices.IndexFunc(a.certs, func(o *certificate) bool { return k.KeyID != "" && strings.EqualFold(o.keyID, k.KeyID) })
	if k.Key == "" {
		if i < 0 {
			return nil, badRequest("A value is required for property 'key' of resource 'KeyCredential'.")
		}
		return a.certs[i], nil // kept as it is
	}
	if k.Type != "AsymmetricX509Cert" || k.Usage != "Verify" {
		return nil, badRequest("Key credential type or usage is not valid.")
	}
	der, err := base64.StdEncoding.DecodeString(k.Key)
	if err != nil {
		return nil, badRequest("Cannot convert a primitive value to the expected type 'Edm.Binary'.")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, &odataError{http.StatusBadRequest, "Request_BadRequest", "Key credential is invalid: the certificate cannot be read."}
	}
	if i >= 0 && slices.Equal(a.certs[i].der, der) {
		return a.certs[i], nil
	}
	n := &certificate{keyID: k.KeyID, name: k.DisplayName, der: der, cert: cert, start: cert.NotBefore, end: cert.NotAfter, known: s.now().Add(s.o.Propagation)}
	if n.keyID == "" {
		n.keyID = newID()
	}
	if k.EndDateTime != nil {
		if k.EndDateTime.After(cert.NotAfter.Add(time.Second)) {
			return nil, &odataError{http.StatusBadRequest, "KeyCredentialsInvalidEndDate", "Key credential end date is invalid."}
		}
		n.end = *k.EndDateTime
	}
	return n, nil
}

func (s *Server) addPasswordLocked(c *call, a *app) (int, any, error) {
	var in struct {
		PasswordCredential struct {
			DisplayName                string
			StartDateTime, EndDateTime *time.Time
		}
	}
	if len(c.body) > 0 {
		if err := c.read(&in); err != nil {
			return 0, nil, err
		}
	}
	p := &secret{keyID: newID(), text: "Sim8Q~" + rand.Text() + rand.Text()[:8], name: in.PasswordCredential.DisplayName, start: s.now(), end: s.now().AddDate(2, 0, 0), known: s.now().Add(s.o.Propagation)}
	if t := in.PasswordCredential.StartDateTime; t != nil {
		p.start = *t
	}
	if t := in.PasswordCredential.EndDateTime; t != nil {
		p.end = *t
	}
	a.secrets = append(a.secrets, p)
	e := p.entity()
	e["secretText"], e["@odata.context"] = p.text, c.context("microsoft.graph.passwordCredential")
	return http.StatusOK, e, nil
}

func removePassword(c *call, a *app) (int, any, error) {
	var in struct{ KeyID string }
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	n := len(a.secrets)
	a.secrets = slices.DeleteFunc(a.secrets, func(p *secret) bool { return strings.EqualFold(p.keyID, in.KeyID) })
	if len(a.secrets) == n {
		return 0, nil, badRequest("No password credential found with keyId.")
	}
	return http.StatusNoContent, nil, nil
}

// addKeyLocked adds a certificate on proof of holding one that is there already.
func (s *Server) addKeyLocked(c *call, a *app) (int, any, error) {
	var in struct {
		KeyCredential keyCredential
		Proof         string
	}
	if err := c.read(&in); err != nil {
		return 0, nil, err
	}
	t, err := parseJWT(in.Proof)
	if err != nil || t.text("aud") != "00000002-0000-0000-c000-000000000000" || !strings.EqualFold(t.text("iss"), a.ObjectID) || s.inTime(t) != nil ||
		!slices.ContainsFunc(a.certs, func(k *certificate) bool { return t.verify(k.cert.PublicKey) == nil }) {
		return 0, nil, &odataError{http.StatusForbidden, "Authentication_MissingOrMalformed", "Access Token missing or malformed."}
	}
	n, err := s.certificateLocked(a, in.KeyCredential)
	if err != nil {
		return 0, nil, err
	}
	a.certs = append(a.certs, n)
	e := n.entity(false)
	e["@odata.context"] = c.context("microsoft.graph.keyCredential")
	return http.StatusOK, e, nil
}
