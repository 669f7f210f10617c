package catalog_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
)

func TestTheCatalogSaysWhatChangesASecondFactor(t *testing.T) {
	for _, c := range []struct {
		host, method, path string
		body               any
		want               bool
	}{
		{graphHost, "POST", "/users/bob@contoso.com/authentication/phoneMethods", object{"phoneNumber": "+1"}, true},
		{graphHost, "DELETE", "/me/authentication/microsoftAuthenticatorMethods/1", nil, true},
		{graphHost, "POST", "/users/1/authentication/temporaryAccessPassMethods", object{}, true},
		{graphHost, "PATCH", "/users/1/authentication/requirements", object{"perUserMfaState": "disabled"}, true},
		{graphHost, "POST", "/users/1/authentication/fido2Methods", object{}, true},
		{graphHost, "POST", "/users/1/authentication/inventedMethods", object{}, true},
		{graphHost, "POST", "/users/1/authentication/methods/28c10230-6103-485e-b985-444c60001490/resetPassword", object{}, false},
		{graphHost, "PATCH", "/users/1", object{"passwordProfile": object{"password": "x"}}, false},
		{graphHost, "POST", "/users/1/revokeSignInSessions", nil, false},
		{duoHost, "POST", "/admin/v1/users/1/bypass_codes", nil, true},
		{duoHost, "POST", "/admin/v1/users/1/phones", object{"phone_id": "2"}, true},
		{duoHost, "POST", "/admin/v1/users/1", object{"status": "bypass"}, true},
		{duoHost, "POST", "/admin/v1/users/1", object{"realname": "A", "status": "bypass"}, true},
		{duoHost, "POST", "/admin/v1/phones/1/activation_url", nil, true},
		{duoHost, "DELETE", "/admin/v1/users/1/tokens/2", nil, true},
		{duoHost, "POST", "/admin/v1/admins", object{"email": "x@example.com"}, false},
		{"contoso.okta.com", "POST", "/api/v1/users/1/factors", object{"factorType": "sms"}, true},
		{"contoso.okta.com", "POST", "/api/v1/users/1/lifecycle/reset_factors", nil, true},
		{"contoso.okta.com", "POST", "/api/v1/users/1/lifecycle/reset_password", nil, false},
	} {
		m := byHost(t, c.host).Match(call(c.method, c.path, c.body))
		if m.ChangesFactor != c.want || !m.Sensitive {
			t.Errorf("%s %s: %s changes a factor: %v, want %v (sensitive %v)", c.method, c.path, m.Name, m.ChangesFactor, c.want, m.Sensitive)
		}
	}
}

// A factor is not to confirm what the catalog has not learnt of its own API.
func TestAnUnlistedWriteWhereFactorsAreAdministeredChangesAFactor(t *testing.T) {
	for _, c := range []struct {
		host, method, path string
		want               bool
	}{
		{duoHost, "POST", "/admin/v9/inventions", true},
		{duoHost, "DELETE", "/admin/v1/inventions/1/users/2", true},
		{duoHost, "POST", "/", true},
		{duoHost, "POST", strings.Repeat("/x", 70), true},
		{duoHost, "GET", "/admin/v9/inventions", false},
		{"graph.windows.net", "POST", "/inventions", true},
		{graphHost, "POST", "/inventions/1/authentication/newMethods", true},
		{graphHost, "PATCH", "/inventions/authenticationMethods", true},
		{graphHost, "POST", "/inventions/1/AUTHENTICATION", true},
		{graphHost, "POST", "/inventions/1/strongAuthenticationDetail/phone", true},
		{graphHost, "POST", "/inventions/1/microsoft.graph.authenticationInvention", true},
		{graphHost, "POST", "/inventions/1", false},
		{graphHost, "GET", "/inventions/1/authentication/newMethods", false},
		{"contoso.okta.com", "POST", "/api/v1/inventions", false},
	} {
		m := byHost(t, c.host).Match(call(c.method, c.path, nil))
		if m.ChangesFactor != c.want || m.Coverage != catalog.Unlisted {
			t.Errorf("%s %s%s: %s %q changes a factor: %v, want %v", c.method, c.host, c.path, m.Coverage, m.Name, m.ChangesFactor, c.want)
		}
	}
}

func TestAnOrdinaryEntryCannotChangeAFactor(t *testing.T) {
	_, err := catalog.Load(fstest.MapFS{"demo.json": {Data: []byte(`{"api": "demo", "hosts": ["api.example.com"], "entries": [
		{"name": "phone", "method": "POST", "path": "/phones", "category": "ordinary_write", "changes_factor": true}]}`)}})
	if err == nil || !strings.Contains(err.Error(), "changes_factor") {
		t.Errorf("Load = %v, want an error about changes_factor", err)
	}
}
