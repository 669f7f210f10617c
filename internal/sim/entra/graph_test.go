package entra_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/entra"
)

// graph calls Graph with a token of the roles, or of the default application when there are none.
func (w *world) graph(t *testing.T, method, path, body string, roles ...string) reply {
	t.Helper()
	token, err := w.Mint(entra.AccessToken{Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return w.do(t, method, w.url+path, []byte(body), "Authorization", "Bearer "+token, "Content-Type", "application/json")
}

func errorCode(t *testing.T, r reply) string {
	t.Helper()
	e, _ := object(t, r)["error"].(map[string]any)
	text, _ := e["code"].(string)
	return text
}

func values(t *testing.T, r reply) []map[string]any {
	t.Helper()
	var m struct{ Value []map[string]any }
	if err := json.Unmarshal(r.body, &m); err != nil || r.status != 200 {
		t.Fatalf("%d %v: %s", r.status, err, r.body)
	}
	return m.Value
}

func TestPeopleAreFoundByTheirNames(t *testing.T) {
	w := start(t, entra.Options{People: []entra.Person{
		{ID: entra.KimID, UPN: kim, Aliases: []string{"k.kowalski@contoso.com"}}, {UPN: "o'hara@contoso.com", Mail: "ohara@contoso.com"},
	}})
	for _, path := range []string{"/v1.0/users/" + entra.KimID, "/v1.0/users/KIM@contoso.com", "/v1.0/users('kim@contoso.com')", "/v1.0/users/kim%40contoso.com"} {
		m := object(t, w.graph(t, "GET", path+"?$select=id,userPrincipalName", ""))
		if m["id"] != entra.KimID || m["userPrincipalName"] != kim || m["mail"] != nil || m["@odata.context"] == nil {
			t.Errorf("%s: %v", path, m)
		}
	}
	for filter, n := range map[string]int{
		"userPrincipalName eq 'kim@contoso.com'": 1, "mail eq 'ohara@contoso.com'": 1, "userPrincipalName eq 'o''hara@contoso.com' and accountEnabled eq true": 1,
		"proxyAddresses/any(p:p eq 'smtp:k.kowalski@contoso.com')": 1, "mail eq 'nobody@contoso.com'": 0,
	} {
		if got := values(t, w.graph(t, "GET", "/v1.0/users?$filter="+url.QueryEscape(filter), "")); len(got) != n {
			t.Errorf("%s: %d, want %d", filter, len(got), n)
		}
	}
	if r := w.graph(t, "GET", "/v1.0/users?$filter=startswith(mail,'k')", ""); r.status != 400 || errorCode(t, r) != "Request_UnsupportedQuery" {
		t.Errorf("unsupported filter: %d %s", r.status, r.body)
	}
	if r := w.graph(t, "GET", "/v1.0/users/nobody@contoso.com", ""); r.status != 404 || errorCode(t, r) != "Request_ResourceNotFound" {
		t.Errorf("nobody: %d %s", r.status, r.body)
	}
}

func TestListsComeInPages(t *testing.T) {
	var people []entra.Person
	for _, c := range "abcdefg" {
		people = append(people, entra.Person{UPN: string(c) + "@contoso.com"})
	}
	w := start(t, entra.Options{People: people, PageSize: 3})
	var got []string
	next := "/v1.0/users?$select=userPrincipalName"
	for pages := 0; next != ""; pages++ {
		if pages > 3 {
			t.Fatal("the pages do not end")
		}
		r := w.graph(t, "GET", next, "")
		for _, u := range values(t, r) {
			got = append(got, u["userPrincipalName"].(string))
		}
		link, _ := object(t, r)["@odata.nextLink"].(string)
		if link != "" && !strings.HasPrefix(link, w.url+"/v1.0/users?") {
			t.Fatalf("nextLink = %q", link)
		}
		next = strings.TrimPrefix(link, w.url)
	}
	if len(got) != 7 || got[6] != "g@contoso.com" {
		t.Errorf("got %v", got)
	}
}

func TestGraphChecksTheTokenAndItsPermissions(t *testing.T) {
	w := start(t, entra.Options{})
	for path, role := range map[string]string{
		"/v1.0/users/" + kim: "User.Read.All", "/v1.0/users/" + kim + "/authentication/methods": "UserAuthenticationMethod.Read.All",
		"/beta/users/" + kim + "/authentication/signInPreferences": "UserAuthenticationMethod.Read.All",
		"/v1.0/servicePrincipals":                                  "Application.Read.All", "/v1.0/subscribedSkus": "Organization.Read.All",
		"/v1.0/organization": "Organization.Read.All", "/v1.0/oauth2PermissionGrants": "Directory.Read.All",
	} {
		if r := w.graph(t, "GET", path, "", role); r.status != 200 {
			t.Errorf("%s with %s: %d %s", path, role, r.status, r.body)
		}
		if r := w.graph(t, "GET", path, "", "Mail.Send"); r.status != 403 || errorCode(t, r) != "Authorization_RequestDenied" {
			t.Errorf("%s without: %d %s", path, r.status, r.body)
		}
	}
	if r := w.graph(t, "GET", "/v1.0/auditLogs/signIns", "", "AuditLog.Read.All"); r.status != 403 {
		t.Errorf("sign-ins without Directory.Read.All: %d", r.status)
	}
	delegated, err := w.Mint(entra.AccessToken{UPN: kim, Scopes: []string{"User.Read.All"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := w.do(t, "GET", w.url+"/v1.0/users/"+kim, nil, "Authorization", "Bearer "+delegated); r.status != 200 {
		t.Errorf("delegated: %d", r.status)
	}
	for name, header := range map[string]string{"none": "", "nonsense": "Bearer x", "the Connector's": "Bearer " + w.connectorToken(t)} {
		if r := w.do(t, "GET", w.url+"/v1.0/users", nil, "Authorization", header); r.status != 401 || errorCode(t, r) != "InvalidAuthenticationToken" || r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s token: %d %s", name, r.status, r.body)
		}
	}
}

func TestMethodsAreListedByType(t *testing.T) {
	w := start(t, entra.Options{People: []entra.Person{{UPN: kim}, {UPN: "none@contoso.com", Methods: []string{}}, {UPN: "sms@contoso.com", Methods: []string{entra.OneWaySMS, entra.Passkey}}}})
	for upn, want := range map[string][]string{
		kim: {"password", "microsoftAuthenticator"}, "none@contoso.com": {"password"}, "sms@contoso.com": {"password", "phone", "fido2"},
	} {
		var got []string
		for _, m := range values(t, w.graph(t, "GET", "/v1.0/users/"+upn+"/authentication/methods", "")) {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(m["@odata.type"].(string), "#microsoft.graph."), "AuthenticationMethod"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", upn, got, want)
		}
	}
	m := object(t, w.graph(t, "GET", "/beta/users/sms@contoso.com/authentication/signInPreferences", ""))
	if m["userPreferredMethodForSecondaryAuthentication"] != "sms" {
		t.Errorf("preferences: %v", m)
	}
}

func TestAnAnswerAppearsInTheSignInLogLater(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	w := start(t, entra.Options{LogDelay: 2 * time.Minute, Now: func() time.Time { return now }})
	token := w.connectorToken(t)
	b := w.call(t, token, "BeginTwoWayAuthentication", begin(kim, entra.PhoneAppNotification, false))
	if err := w.Deny(kim); err != nil {
		t.Fatal(err)
	}
	w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", kim))
	path := "/v1.0/auditLogs/signIns?$filter=" + url.QueryEscape("userId eq '"+entra.KimID+"' and createdDateTime ge "+now.Add(-time.Minute).UTC().Format(time.RFC3339))
	if got := values(t, w.graph(t, "GET", path, "")); len(got) != 0 {
		t.Errorf("at once: %v", got)
	}
	now = now.Add(2 * time.Minute)
	got := values(t, w.graph(t, "GET", path, ""))
	if len(got) != 1 || got[0]["correlationId"] != ctxID || got[0]["resourceId"] != "radius" || got[0]["status"].(map[string]any)["errorCode"] != 500121.0 {
		t.Errorf("later: %v", got)
	}
	later := "/v1.0/auditLogs/signIns?$filter=" + url.QueryEscape("createdDateTime gt "+now.UTC().Format(time.RFC3339))
	if got := values(t, w.graph(t, "GET", later, "")); len(got) != 0 {
		t.Errorf("newer than now: %v", got)
	}
}

func TestASetUpPutsACertificateOnTheMFAClient(t *testing.T) {
	w := start(t, entra.Options{NoMFAClient: true})
	const role = "Application.ReadWrite.All"
	find := "/v1.0/servicePrincipals?$filter=" + url.QueryEscape("appId eq '"+entra.MFAClientID+"'")
	if got := values(t, w.graph(t, "GET", find, "", role)); len(got) != 0 {
		t.Fatalf("before: %v", got)
	}
	create := `{"appId":"` + entra.MFAClientID + `"}`
	if r := w.graph(t, "POST", "/v1.0/servicePrincipals", create, "Application.Read.All"); r.status != 403 {
		t.Errorf("create without permission: %d", r.status)
	}
	if r := w.graph(t, "POST", "/v1.0/servicePrincipals", create, role); r.status != 201 {
		t.Fatalf("create: %d %s", r.status, r.body)
	}
	if r := w.graph(t, "POST", "/v1.0/servicePrincipals", create, role); r.status != 409 {
		t.Errorf("create again: %d", r.status)
	}
	id := values(t, w.graph(t, "GET", find, "", role))[0]["id"].(string)
	at := "/v1.0/servicePrincipals/" + id
	_, one := cert(t)
	_, two := cert(t)
	keyOf := func(der []byte) string {
		return `{"type":"AsymmetricX509Cert","usage":"Verify","displayName":"Countersign","key":"` + base64.StdEncoding.EncodeToString(der) + `"}`
	}
	token, err := w.Mint(entra.AccessToken{Roles: []string{role}})
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, _ = zw.Write([]byte(`{"keyCredentials":[` + keyOf(one.Raw) + `]}`))
	_ = zw.Close()
	r := w.do(t, "PATCH", w.url+at, zipped.Bytes(), "Authorization", "Bearer "+token, "Content-Type", "application/json", "Content-Encoding", "gzip")
	if r.status != 204 {
		t.Fatalf("patch: %d %s", r.status, r.body)
	}
	keys := object(t, w.graph(t, "GET", at+"?$select=keyCredentials", "", role))["keyCredentials"].([]any)
	first := keys[0].(map[string]any)
	if len(keys) != 1 || first["key"] != base64.StdEncoding.EncodeToString(one.Raw) {
		t.Errorf("keys = %v", keys)
	}
	if k := object(t, w.graph(t, "GET", at, "", role))["keyCredentials"].([]any)[0].(map[string]any); k["key"] != nil {
		t.Errorf("key without $select: %v", k)
	}
	kept, _ := json.Marshal(first)
	if r := w.graph(t, "PATCH", at, `{"keyCredentials":[`+string(kept)+`,`+keyOf(two.Raw)+`]}`, role); r.status != 204 {
		t.Errorf("patch with both: %d %s", r.status, r.body)
	}
	if _, c := w.Credentials(entra.MFAClientID); len(c) != 2 || c[0] != first["keyId"] {
		t.Errorf("certificates = %v", c)
	}
	if r := w.graph(t, "PATCH", at, `{"keyCredentials":[`+keyOf(two.Raw)+`]}`, role); r.status != 204 {
		t.Errorf("patch: %d", r.status)
	}
	if _, c := w.Credentials(entra.MFAClientID); len(c) != 1 {
		t.Errorf("PATCH added instead of replacing: %v", c)
	}
	if r := w.graph(t, "PATCH", at, `{"keyCredentials":[{"type":"AsymmetricX509Cert","usage":"Verify","key":"AAAA"}]}`, role); r.status != 400 {
		t.Errorf("no certificate: %d", r.status)
	}
}

func TestAKeyIsAddedOnProofOfAnother(t *testing.T) {
	w := start(t, entra.Options{})
	key, c := cert(t)
	otherKey, other := cert(t)
	if err := w.AddMFACredential("", c); err != nil {
		t.Fatal(err)
	}
	const role = "Application.ReadWrite.OwnedBy"
	at := "/v1.0/servicePrincipals(appId='" + entra.MFAClientID + "')"
	id := object(t, w.graph(t, "GET", at, "", role))["id"].(string)
	add := func(proof string) reply {
		return w.graph(t, "POST", at+"/addKey", `{"keyCredential":{"type":"AsymmetricX509Cert","usage":"Verify","key":"`+base64.StdEncoding.EncodeToString(other.Raw)+
			`"},"passwordCredential":null,"proof":"`+proof+`"}`, role)
	}
	claims := map[string]any{"aud": "00000002-0000-0000-c000-000000000000", "iss": id, "nbf": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()}
	if r := add(assertion(t, otherKey, other, "RS256", claims)); r.status != 403 {
		t.Errorf("proof by a stranger: %d", r.status)
	}
	if r := add(assertion(t, key, c, "RS256", claims)); r.status != 200 {
		t.Errorf("proof: %d %s", r.status, r.body)
	}
	if _, certs := w.Credentials(entra.MFAClientID); len(certs) != 2 {
		t.Errorf("certificates = %v", certs)
	}
}

func TestSecretsAreAddedAndRemoved(t *testing.T) {
	w := start(t, entra.Options{})
	const role = "Application.ReadWrite.All"
	at := "/v1.0/servicePrincipals(appId='" + entra.MFAClientID + "')"
	m := object(t, w.graph(t, "POST", at+"/addPassword", `{"passwordCredential":{"displayName":"x"}}`, role))
	if r := w.graph(t, "POST", at+"/removePassword", `{"keyId":"`+m["keyId"].(string)+`"}`, role); r.status != 204 {
		t.Errorf("remove: %d %s", r.status, r.body)
	}
	if s, _ := w.Credentials(entra.MFAClientID); len(s) != 0 {
		t.Errorf("secrets = %v", s)
	}
	if status, body := w.form(t, tenant+"/oauth2/token", v1(m["secretText"].(string))); code(body) != 7000215 {
		t.Errorf("a removed secret: %d %v", status, body)
	}
}

func TestGrantedPermissionsAndLicencesCanBeRead(t *testing.T) {
	w := start(t, entra.Options{})
	id := object(t, w.graph(t, "GET", "/v1.0/servicePrincipals(appId='"+entra.DefaultClientID+"')", ""))["id"].(string)
	graph := object(t, w.graph(t, "GET", "/v1.0/servicePrincipals(appId='"+entra.GraphID+"')", ""))
	names := map[any]string{}
	for _, r := range graph["appRoles"].([]any) {
		names[r.(map[string]any)["id"]] = r.(map[string]any)["value"].(string)
	}
	var got []string
	for _, a := range values(t, w.graph(t, "GET", "/v1.0/servicePrincipals/"+id+"/appRoleAssignments", "")) {
		got = append(got, names[a["appRoleId"]])
	}
	if !slices.Equal(got, entra.ReadRoles()) {
		t.Errorf("granted = %v, want %v", got, entra.ReadRoles())
	}
	if !strings.Contains(string(w.graph(t, "GET", "/v1.0/subscribedSkus", "").body), "AAD_PREMIUM") {
		t.Error("no premium plan in subscribedSkus")
	}
	if m := values(t, w.graph(t, "GET", "/v1.0/organization", "")); len(m) != 1 || m[0]["id"] != entra.DefaultTenant {
		t.Errorf("organization = %v", m)
	}
}
