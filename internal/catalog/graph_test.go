package catalog_test

import (
	"slices"
	"strings"
	"testing"

	"countersign/internal/catalog"
)

const graphHost = "graph.microsoft.com"

func TestGraphHoldsWhatResetsMakesAndGrants(t *testing.T) {
	a := byHost(t, graphHost)
	ref := object{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/7"}
	for _, c := range []struct {
		category, method, path string
		body                   any
	}{
		{catalog.AccountCreation, "POST", "/users", object{"displayName": "x"}},
		{catalog.AccountCreation, "DELETE", "/users/1", nil},
		{catalog.AccountCreation, "PATCH", "/users/1", object{"accountEnabled": false}},
		{catalog.AccountCreation, "POST", "/directory/deletedItems/1/restore", nil},
		{catalog.AccountCreation, "POST", "/invitations", object{"invitedUserEmailAddress": "x@example.com"}},
		{catalog.CredentialReset, "PATCH", "/users/1", object{"passwordProfile": object{"password": "x"}}},
		{catalog.CredentialReset, "PATCH", "/bob@contoso.com", object{"passwordProfile": object{"password": "x"}}},
		{catalog.CredentialReset, "PATCH", "/directoryObjects/1", object{"passwordProfile": nil}},
		{catalog.CredentialReset, "PATCH", "/users/1/passwordProfile", object{"password": "x"}},
		{catalog.CredentialReset, "PATCH", "/me", object{"otherMails": []any{}}},
		{catalog.SecurityConfig, "PATCH", "/deviceManagement/detectedApps/1/managedDevices/2/users/3", object{"passwordProfile": object{"password": "x"}}},
		{catalog.SecurityConfig, "POST", "/deviceManagement/detectedApps/1/managedDevices/2/users/3/removeAllDevicesFromManagement", nil},
		{catalog.CredentialReset, "PATCH", "/me", object{"onPremisesImmutableId": "x"}},
		{catalog.SecurityConfig, "PATCH", "/me", object{"passwordPolicies": "DisablePasswordExpiration"}},
		{catalog.CredentialReset, "POST", "/me/changePassword", object{}},
		{catalog.CredentialReset, "POST", "/users/1/authentication/methods/2/resetPassword", nil},
		{catalog.CredentialReset, "POST", "/users/1/authentication/methods/2/microsoft.graph.resetPassword", nil},
		{catalog.CredentialReset, "GET", "/users/1/authentication/passwordMethods/2/resetPassword", nil},
		{catalog.CredentialReset, "POST", "/users/1/authentication/someNewMethods", object{}},
		{catalog.SecurityConfig, "PATCH", "/users/1/authentication/requirements", object{"perUserMfaState": "disabled"}},
		{catalog.CredentialReset, "POST", "/groups/1/members/2/microsoft.graph.user/authentication/phoneMethods", object{}},
		{catalog.CredentialReset, "POST", "/servicePrincipals/1/addPassword", nil},
		{catalog.CredentialReset, "PATCH", "/applications/appId=1", object{"keyCredentials": []any{}}},
		{catalog.CredentialReset, "POST", "/applications", object{"displayName": "x", "passwordCredentials": []any{object{}}}},
		{catalog.CredentialReset, "POST", "/applications/1/federatedIdentityCredentials", object{}},
		{catalog.AdminPrivilege, "POST", "/directoryRoles/roleTemplateId=2/members/$ref", ref},
		{catalog.AdminPrivilege, "POST", "/roleManagement/directory/roleAssignments", object{}},
		{catalog.AdminPrivilege, "PUT", "/roleManagement/somethingNew/roleAssignments/1", object{}},
		{catalog.AdminPrivilege, "POST", "/groups", object{"displayName": "x", "isAssignableToRole": true}},
		{catalog.AdminPrivilege, "POST", "/identityGovernance/privilegedAccess/group/assignmentScheduleRequests", object{}},
		{catalog.AdminPrivilege, "PATCH", "/users/1", object{"userType": "Member"}},
		{catalog.PermissionGrant, "POST", "/groups/1/members/$ref", ref},
		{catalog.PermissionGrant, "DELETE", "/groups/1/owners/$ref", nil},
		{catalog.PermissionGrant, "POST", "/teams/1/group/members/$ref", ref},
		{catalog.PermissionGrant, "PATCH", "/groups/1", object{"members@odata.bind": []any{"x"}}},
		{catalog.PermissionGrant, "PATCH", "/groups/1", object{"members@delta": []any{}}},
		{catalog.PermissionGrant, "POST", "/servicePrincipals/1/appRoleAssignedTo", object{}},
		{catalog.PermissionGrant, "POST", "/oauth2PermissionGrants", object{}},
		{catalog.PermissionGrant, "POST", "/teams/1/installedApps", object{"consentedPermissionSet": object{}}},
		{catalog.PermissionGrant, "POST", "/me/drive/root:/budget.xlsx:/createLink", object{"scope": "anonymous"}},
		{catalog.PermissionGrant, "POST", "/groups/1/sites/2/lists/3/items/4/driveItem/invite", object{}},
		{catalog.PermissionGrant, "PATCH", "/policies/authorizationPolicy", object{"defaultUserRolePermissions": object{"permissionGrantPoliciesAssigned": []any{}}}},
		{catalog.SecurityConfig, "POST", "/identity/conditionalAccess/policies", object{}},
		{catalog.SecurityConfig, "DELETE", "/identity/conditionalAccess/namedLocations/1", nil},
		{catalog.SecurityConfig, "PATCH", "/domains/contoso.com/federationConfiguration/1", object{}},
		{catalog.SecurityConfig, "POST", "/me/mailFolders/inbox/messageRules", object{"actions": object{"forwardTo": []any{object{}}}}},
		{catalog.SecurityConfig, "POST", "/deviceManagement/managedDevices/1/wipe", nil},
		{catalog.CredentialReset, "POST", "/deviceManagement/detectedApps/1/managedDevices/2/rotateLocalAdminPassword", nil},
		{catalog.CredentialReset, "POST", "/deviceManagement/managedDevices/executeAction", object{"actionName": "resetPasscode"}},
	} {
		m := a.Match(call(c.method, c.path, c.body))
		if m.Category != c.category || !m.Sensitive || m.Coverage != catalog.Listed || m.Summary == "" || m.Undone == "" {
			t.Errorf("%s %s: %s, %s, sensitive %v, want %s: %+v", c.method, c.path, m.Category, m.Coverage, m.Sensitive, c.category, m)
		}
	}
}

func TestGraphLetsOrdinaryWorkPass(t *testing.T) {
	a := byHost(t, graphHost)
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"PATCH", "/users/1", object{"jobTitle": "passwordProfile", "city": "accountEnabled"}},
		{"POST", "/me/sendMail", object{"message": object{"body": object{"content": `{"passwordProfile": {}}`}}}},
		{"POST", "/users/1/microsoft.graph.sendMail", object{}},
		{"PUT", "/drives/1/items/2:/users/authentication/methods/resetPassword:/content", "hello"},
		{"PUT", "/me/drive/root:/members/$ref", "hello"},
		{"POST", "/sites/root/lists/1/items", object{"fields": object{"passwordProfile": "x"}}},
		{"POST", "/teams/1/channels/2/messages", object{}},
		{"PATCH", "/planner/tasks/1", object{}},
		{"POST", "/users/1/getMemberGroups", object{}},
		{"POST", "/search/query", object{}},
		{"POST", "/identity/conditionalAccess/evaluate", object{}},
		{"POST", "/deviceManagement/managedDevices/1/syncDevice", nil},
		{"POST", "/deviceManagement/managedDevices/executeAction", object{"actionName": "syncDevice"}},
		{"POST", "/me/mailFolders/inbox/messageRules", object{"actions": object{"markAsRead": true}}},
		{"POST", "/applications", object{"displayName": "x"}},
		{"POST", "/groups", object{"displayName": "x", "mailEnabled": false, "mailNickname": "x", "securityEnabled": true}},
		{"PUT", "/users/1/manager/$ref", object{"@odata.id": "x"}},
		{"GET", "/users/1/authentication/methods", nil},
		{"OPTIONS", "/users/1/authentication/methods/2/resetPassword", nil},
	} {
		m := a.Match(call(c.method, c.path, c.body))
		if m.Sensitive || m.Coverage != catalog.Listed && m.Category != catalog.Read {
			t.Errorf("%s %s is held: %+v", c.method, c.path, m)
		}
	}
}

func TestGraphSummariesNameRolesAndPermissions(t *testing.T) {
	a := byHost(t, graphHost)
	for _, c := range []struct {
		want string
		call catalog.Call
	}{
		{"Give 7 the role Global Administrator", call("POST", "/roleManagement/directory/roleAssignments",
			object{"principalId": "7", "roleDefinitionId": "62e90394-69f5-4237-9190-012177145e10"})},
		{"Take the role Helpdesk Administrator from 7", call("POST", "/roleManagement/directory/roleAssignmentScheduleRequests",
			object{"action": "adminRemove", "principalId": "7", "roleDefinitionId": "729827e3-9c14-49f7-bb1b-9608f156bbb8"})},
		{"Give 7 the role Global Administrator", call("POST", "/directoryRoles/roleTemplateId=62e90394-69f5-4237-9190-012177145e10/members/$ref",
			object{"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/7"})},
		{"Grant the application permission RoleManagement.ReadWrite.Directory to 7", call("POST", "/servicePrincipals/7/appRoleAssignments",
			object{"principalId": "7", "appRoleId": "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8"})},
		{"Reset the password of the signed-in account", call("PATCH", "/me", object{"passwordProfile": object{}})},
		{"Reset the password of bob@contoso.com", call("PATCH", "/users/userPrincipalName=bob@contoso.com", object{"passwordProfile": object{}})},
	} {
		if m := a.Match(c.call); m.Summary != c.want {
			t.Errorf("Summary = %q, want %q", m.Summary, c.want)
		}
	}
}

func TestEveryNationalCloudIsIntercepted(t *testing.T) {
	hosts := shipped(t).Hosts()
	for _, h := range []string{
		graphHost, "graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn",
		"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn",
	} {
		if !slices.Contains(hosts, h) {
			t.Errorf("%s is in no API", h)
		}
	}
}

func TestATokenForTheVerificationBackEndIsMarked(t *testing.T) {
	a := byHost(t, "login.microsoftonline.com")
	const token = "/contoso.com/oauth2/v2.0/token"
	form := func(kv ...string) object {
		o := object{"grant_type": "client_credentials", "client_secret": "s", "client_id": "c"}
		for i := 0; i < len(kv); i += 2 {
			o[kv[i]] = kv[i+1]
		}
		return o
	}
	query := call("POST", token, nil)
	query.Query = map[string][]string{"Scope": {"https://adnotifications.windowsazure.com/StrongAuthenticationService.svc/Connector/.default"}}
	for _, c := range []struct {
		about, name string
		call        catalog.Call
	}{
		{"an ordinary scope", "auth.token", call("POST", token, form("scope", "https://graph.microsoft.com/.default"))},
		{"version 1", "auth.token", call("POST", "/common/oauth2/token", form("resource", "https://graph.microsoft.com"))},
		{"the connector's resource", "auth.token.verification_backend", call("POST", "/t/oauth2/token", form("resource", "https://adnotifications.windowsazure.com/StrongAuthenticationService.svc/Connector"))},
		{"in other case", "auth.token.verification_backend", call("POST", "/T/OAuth2/Token", form("RESOURCE", "HTTPS://ADNOTIFICATIONS.windowsazure.us/x"))},
		{"the new name", "auth.token.verification_backend", call("POST", token, form("scope", "openid https://eu.strongauthenticationservice.auth.microsoft.com/.default"))},
		{"its application id as a scope", "auth.token.verification_backend", call("POST", token, form("scope", "981f26a1-7f43-403b-a875-f8b09b8cd720/.default"))},
		{"its application id as the client", "auth.token.verification_backend", call("POST", token, form("client_id", "981F26A1-7F43-403B-A875-F8B09B8CD720"))},
		{"one of several values", "auth.token.verification_backend", call("POST", token, object{"scope": []any{"a", "https://adnotifications.windowsazure.com/x"}})},
		{"in the query", "auth.token.verification_backend", query},
		{"a body that cannot be read", "auth.token.verification_backend", call("POST", token, "scope=?")},
		{"discovery", "auth.discovery", call("GET", "/contoso.com/v2.0/.well-known/openid-configuration", nil)},
		{"instance discovery", "auth.discovery", call("GET", "/common/discovery/instance", nil)},
		{"consent for a tenant", "auth.consent.admin", call("GET", "/contoso.com/adminconsent", nil)},
		{"another page", "", call("POST", "/common/login", nil)},
	} {
		m := a.Match(c.call)
		if m.Name != c.name || m.Sensitive != (strings.Contains(c.name, "backend") || strings.Contains(c.name, "consent")) {
			t.Errorf("%s: Name = %q, Sensitive = %v, want %q", c.about, m.Name, m.Sensitive, c.name)
		}
	}
	m := a.Match(call("POST", token, form("refresh_token", "r", "scope", "s")))
	if got := len(m.Secrets); got != 2 {
		t.Errorf("Secrets = %v, want client_secret and refresh_token", m.Secrets)
	}
	if m.Params["scope"] != "s" && m.Name == "auth.token.verification_backend" {
		t.Errorf("Params = %v", m.Params)
	}
}
