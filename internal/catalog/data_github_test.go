package catalog_test

import "testing"

const gitHubHost = "api.github.com"

func TestGitHubHoldsPeopleKeysAndProtection(t *testing.T) {
	holds(t, gitHubHost, []known{
		{"admin_privilege", "PUT", "/orgs/o/memberships/eve", object{"role": "admin"}},
		{"admin_privilege", "DELETE", "/organizations/1/team/2/memberships/eve", nil},
		{"admin_privilege", "PUT", "/orgs/o/organization-roles/users/eve/1", nil},
		{"permission_grant", "PUT", "/repos/o/r/collaborators/eve", object{"permission": "admin"}},
		{"permission_grant", "PATCH", "/orgs/o", object{"default_repository_permission": "admin"}},
		{"permission_grant", "PUT", "/teams/1/repos/o/r", object{"permission": "admin"}},
		{"credential_reset", "POST", "/repos/o/r/keys", object{"key": "ssh-rsa"}},
		{"credential_reset", "PUT", "/repos/o/r/environments/production/secrets/S", object{}},
		{"credential_reset", "POST", "/orgs/o/actions/runners/registration-token", nil},
		{"credential_reset", "POST", "/app/installations/1/access_tokens", nil},
		{"account_creation", "POST", "/scim/v2/organizations/o/Users", object{}},
		{"security_config", "DELETE", "/repos/o/r/branches/main/protection", nil},
		{"security_config", "PATCH", "/repos/o/r", object{"security_and_analysis": object{}}},
		{"security_config", "PATCH", "/repos/o/r", object{"name": "x", "visibility": "public"}},
		{"security_config", "PATCH", "/orgs/o/hooks/1", object{"config": object{}}},
		{"security_config", "POST", "/orgs/o/secret_scanning/disable_all", nil},
		{"admin_privilege", "POST", "/graphql/mutation/updateEnterpriseAdministratorRole", object{"arguments": object{"input": object{"login": "eve"}}}},
		{"read", "GET", "/graphql/query", object{"selection": object{"enterprise": object{"recoveryCodes": object{}}}}},
	})
}

func TestGitHubLetsWorkOnCodePass(t *testing.T) {
	passes(t, gitHubHost, []known{
		{"", "GET", "/repos/o/r/keys", nil},
		{"", "POST", "/repos/o/r/issues/1/comments", object{"body": "x"}},
		{"", "PUT", "/repos/o/r/pulls/1/merge", nil},
		{"", "PATCH", "/repos/o/r", object{"description": "x"}},
		{"", "POST", "/repos/o/r/actions/workflows/1/dispatches", object{"ref": "main"}},
		{"", "POST", "/orgs/o/hooks/1/deliveries/2/attempts", nil},
		{"", "POST", "/orgs/o/hooks/1/pings", nil},
		{"", "POST", "/gists", object{}},
		{"", "POST", "/graphql/mutation/addComment", object{"arguments": object{}}},
		{"", "GET", "/graphql/query", object{"selection": object{"viewer": object{"login": object{}}}}},
	})
}
