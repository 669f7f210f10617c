package catalog_test

import (
	"slices"
	"testing"

	"countersign/internal/catalog"
)

const oktaHost = "contoso.okta.com"

func TestOktaHoldsWhatResetsMakesAndGrants(t *testing.T) {
	profile := object{"firstName": "A", "department": "IT"}
	holds(t, oktaHost, []known{
		{catalog.CredentialReset, "POST", "/api/v1/users/1/lifecycle/reset_password", nil},
		{catalog.CredentialReset, "GET", "/api/v1/users/1/lifecycle/reset_password", nil},
		{catalog.CredentialReset, "POST", "/API/v1/Users/me/lifecycle/Reset_Factors", nil},
		{catalog.CredentialReset, "PUT", "/api/v1/users/1", object{"profile": profile, "credentials": object{"password": object{"value": "x"}}}},
		{catalog.CredentialReset, "POST", "/api/v1/users/1", object{"credentials": object{"recovery_question": object{}}}},
		{catalog.CredentialReset, "POST", "/api/v1/users/1", object{"profile": object{"secondEmail": "x@example.com"}}},
		{catalog.CredentialReset, "POST", "/api/v1/users/1", "credentials"},
		{catalog.CredentialReset, "POST", "/api/v1/users/1/factors", object{"factorType": "sms"}},
		{catalog.CredentialReset, "POST", "/api/v1/users/1/authenticator-enrollments/tac", object{}},
		{catalog.CredentialReset, "POST", "/api/v1/users/1/factors/2/verify", object{"passCode": "123456"}}, // answers for the person
		{catalog.CredentialReset, "POST", "/api/v1/users/1/factors/2/verify", nil},
		{catalog.CredentialReset, "POST", "/api/v1/users/1/factors/2/resend", object{"profile": object{"phoneNumber": "1"}}},
		{catalog.CredentialReset, "POST", "/api/v1/apps/1/credentials/secrets", object{}},
		{catalog.CredentialReset, "POST", "/api/v1/apps", object{"label": "x", "signOnMode": "OPENID_CONNECT"}},
		{catalog.CredentialReset, "POST", "/oauth2/v1/clients/1/lifecycle/newSecret", nil},
		{catalog.CredentialReset, "POST", "/api/v1/authn/recovery/password", object{"username": "x"}},
		{catalog.CredentialReset, "POST", "/idp/myaccount/password", object{}},
		{catalog.SecurityConfig, "POST", "/api/v1/users/1", object{"profile": object{"firstName": "A", "awsRole": "admin"}}},
		{catalog.SecurityConfig, "POST", "/api/v1/users/1", object{"realmId": "r"}},
		{catalog.SecurityConfig, "POST", "/api/v1/users/1", nil},
		{catalog.SecurityConfig, "PUT", "/api/v1/policies/1/rules/2", object{}},
		{catalog.SecurityConfig, "DELETE", "/api/v1/zones/1", nil},
		{catalog.SecurityConfig, "PUT", "/api/v1/brands/1/pages/sign-in/customized", object{}},
		{catalog.AccountCreation, "POST", "/api/v1/users", object{"profile": profile}},
		{catalog.AccountCreation, "DELETE", "/api/v1/users/1", nil},
		{catalog.AccountCreation, "POST", "/api/v1/users/1/lifecycle/unsuspend", nil},
		{catalog.AdminPrivilege, "POST", "/api/v1/users/1/roles", object{"type": "SUPER_ADMIN"}},
		{catalog.AdminPrivilege, "PUT", "/api/v1/groups/1/roles/2/targets/groups/3", nil},
		{catalog.AdminPrivilege, "POST", "/oauth2/v1/clients/1/roles", object{"type": "ORG_ADMIN"}},
		{catalog.AdminPrivilege, "PATCH", "/api/v1/iam/resource-sets/1/bindings/2/members", object{}},
		{catalog.PermissionGrant, "PUT", "/api/v1/groups/1/users/2", nil},
		{catalog.PermissionGrant, "POST", "/api/v1/apps/1/grants", object{"scopeId": "okta.users.manage"}},
		{catalog.PermissionGrant, "PUT", "/api/v1/apps/1/groups/2", nil},
		{catalog.PermissionGrant, "POST", "/governance/api/v1/grants", object{}},
		{catalog.Read, "GET", "/api/v1/apps/1/credentials/secrets", nil},
		{catalog.Read, "POST", "/v1/teams/t/server_accounts/1/reveal_credentials", nil},
	})
}

func TestOktaLetsOrdinaryWorkPass(t *testing.T) {
	passes(t, oktaHost, []known{
		{"", "POST", "/api/v1/users/1", object{"profile": object{"department": "credentials", "title": "x"}}},
		{"", "PUT", "/api/v1/users/1", object{"profile": object{"mobilePhone": "+15550100"}}},
		{"", "POST", "/api/v1/groups", object{"profile": object{"name": "x"}}},
		{"", "PUT", "/api/v1/groups/1", object{"profile": object{"name": "x"}}},
		{"", "POST", "/api/v1/policies/simulate", object{}},
		{"", "POST", "/api/v1/users/1/subscriptions/OKTA_UPDATE/subscribe", nil},
		{"", "PUT", "/api/v1/users/1/linkedObjects/manager/2", nil},
		{"", "POST", "/api/v1/brands/1/themes/2/logo", "png"},
		{"", "POST", "/api/v1/meta/schemas/user/default", object{}},
		{"", "POST", "/oauth2/v1/token", object{"grant_type": "client_credentials"}},
		{"", "POST", "/oauth2/default/v1/token", object{}},
		{"", "POST", "/governance/api/v2/requests", object{}},
		{"", "GET", "/api/v1/users/1/factors", nil},
		{"", "GET", "/api/v1/apps/1/credentials/keys", nil},
		{"", "GET", "/api/v1/logs", nil},
	})
}

func TestOktaSummariesNameRoleAndPerson(t *testing.T) {
	a := byHost(t, oktaHost)
	for want, c := range map[string]catalog.Call{
		"Give bob@contoso.com the administrator role Super Administrator": call("POST", "/api/v1/users/bob@contoso.com/roles", object{"type": "SUPER_ADMIN"}),
		"Set the password or recovery answer of bob; also: Set the sign-in name or recovery address of bob to b@example.com": call("PUT", "/api/v1/users/bob",
			object{"credentials": object{}, "profile": object{"login": "b@example.com", "firstName": "B"}}),
	} {
		if m := a.Match(c); m.Summary != want {
			t.Errorf("Summary = %q, want %q", m.Summary, want)
		}
	}
}

func TestASecretOfAnIdentityProviderIsMasked(t *testing.T) {
	for _, c := range []struct {
		host, path string
		body       object
		secret     []string
	}{
		{oktaHost, "/api/v1/users/1", object{"credentials": object{"password": object{"value": "x"}}}, []string{"credentials", "password"}},
		{oktaHost, "/oauth2/v1/token", object{"client_secret": "x"}, []string{"client_secret"}},
		{duoHost, "/admin/v1/tokens", object{"serial": "1", "secret": "x"}, []string{"secret"}},
		{googleHost, "/admin/directory/v1/users", object{"password": "x"}, []string{"password"}},
		{slackHost, "/api/chat.postMessage", object{"token": "xoxb"}, []string{"token"}},
		{slackHost, "/scim/v2/Users", object{"password": "x"}, []string{"password"}},
	} {
		m := byHost(t, c.host).Match(call("POST", c.path, c.body))
		if !slices.ContainsFunc(m.Secrets, func(s []string) bool { return slices.Equal(s, c.secret) }) {
			t.Errorf("%s: Secrets = %v, want %v among them", c.path, m.Secrets, c.secret)
		}
	}
}
