package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

const (
	googleHost = "admin.googleapis.com"
	dir        = "/admin/directory/v1"
)

func TestGoogleHoldsWhatResetsMakesAndGrants(t *testing.T) {
	holds(t, googleHost, []known{
		{catalog.CredentialReset, "PATCH", dir + "/users/1", object{"password": "x"}},
		{catalog.CredentialReset, "PUT", dir + "/users/1", object{"hash_function": "MD5"}},
		{catalog.CredentialReset, "PATCH", dir + "/users/1", object{"recoveryEmail": "x@example.com"}},
		{catalog.CredentialReset, "POST", dir + "/users/1/signOut", nil},
		{catalog.CredentialReset, "GET", dir + "/users/1/twoStepVerification/turnOff", nil},
		{catalog.CredentialReset, "POST", dir + "/users/1/verificationCodes/generate", nil},
		{catalog.CredentialReset, "DELETE", dir + "/users/1/asps/2", nil},
		{catalog.CredentialReset, "POST", dir + "/users/1/aliases", object{"alias": "ceo@example.com"}},
		{catalog.Read, "GET", dir + "/users/1/verificationCodes", nil},
		{catalog.AccountCreation, "POST", dir + "/users", object{"primaryEmail": "x@example.com"}},
		{catalog.AccountCreation, "POST", dir + "/users:createGuest", object{}},
		{catalog.AccountCreation, "PATCH", dir + "/users/1", object{"suspended": true, "name": object{"givenName": "A"}}},
		{catalog.AdminPrivilege, "POST", dir + "/users/1/makeAdmin", object{"status": true}},
		{catalog.AdminPrivilege, "POST", dir + "/customer/my_customer/roleassignments", object{"roleId": "1"}},
		{catalog.AdminPrivilege, "PATCH", dir + "/customer/my_customer/roles/1", object{}},
		{catalog.PermissionGrant, "POST", dir + "/groups/1/members", object{"email": "x@example.com"}},
		{catalog.PermissionGrant, "PATCH", "/groups/v1/groups/1", object{"whoCanJoin": "ANYONE_CAN_JOIN"}},
		{catalog.PermissionGrant, "POST", "/admin/datatransfer/v1/transfers", object{}},
		{catalog.SecurityConfig, "PATCH", dir + "/users/1", object{"orgUnitPath": "/"}},
		{catalog.SecurityConfig, "PATCH", dir + "/users/1", object{"name": "A"}},
		{catalog.SecurityConfig, "POST", dir + "/customer/my_customer/devices/chromeos/1/action", object{"action": "disable"}},
		{catalog.SecurityConfig, "POST", dir + "/customer/my_customer/devices/chromeos/1:issueCommand", object{}},
		{catalog.SecurityConfig, "POST", "/v1/inboundSsoAssignments", object{}},
		{catalog.PermissionGrant, "POST", "/v1/groups/1/memberships/2:modifyMembershipRoles", object{}},
		{catalog.SecurityConfig, "PUT", "/gmail/v1/users/me/settings/autoForwarding", object{"emailAddress": "x@example.com"}},
		{catalog.SecurityConfig, "POST", "/gmail/v1/users/me/settings/filters", object{"action": object{"forward": "x@example.com"}}},
		{catalog.PermissionGrant, "POST", "/gmail/v1/users/me/settings/delegates", object{}},
		{catalog.PermissionGrant, "POST", "/calendar/v3/calendars/primary/acl", object{}},
		{catalog.PermissionGrant, "POST", "/drive/v3/files/1/permissions", object{"type": "anyone"}},
		{catalog.CredentialReset, "POST", "/batch/admin/directory_v1", "--b"},
	})
}

func TestGoogleLetsOrdinaryWorkPass(t *testing.T) {
	passes(t, googleHost, []known{
		{"", "PATCH", dir + "/users/1", object{"name": object{"givenName": "A"}, "organizations": []any{object{"title": "makeAdmin"}}}},
		{"", "POST", dir + "/groups", object{"email": "x@example.com", "name": "x"}},
		{"", "POST", dir + "/groups/1/aliases", object{"alias": "x@example.com"}},
		{"", "PUT", dir + "/users/1/photos/thumbnail", object{}},
		{"", "POST", dir + "/users/watch", object{}},
		{"", "POST", dir + "/customer/my_customer/resources/calendars", object{}},
		{"", "POST", dir + "/customers/C1/chrome/printers:batchCreatePrinters", object{}},
		{"", "PUT", dir + "/customer/my_customer/devices/chromeos/1", object{"annotatedUser": "x"}},
		{"", "POST", "/gmail/v1/users/me/messages/send", object{"raw": "x"}},
		{"", "POST", "/gmail/v1/users/me/settings/filters", object{"criteria": object{}, "action": object{"addLabelIds": []any{"x"}}}},
		{"", "POST", "/upload/drive/v3/files", "--b"},
		{"", "POST", "/calendar/v3/calendars/primary/events", object{}},
		{"", "POST", "/apps/licensing/v1/product/1/sku/2/user", object{}},
		{"", "POST", "/v1/people:createContact", object{}},
		{"", "POST", "/token", object{"grant_type": "refresh_token"}},
		{"", "GET", dir + "/users/1/asps", nil},
		{"", "GET", dir + "/customer/my_customer/roles/ALL/privileges", nil},
	})
}

const iamHost = "iam.googleapis.com"

func TestCloudIAMHoldsKeysRolesAndImpersonation(t *testing.T) {
	policy := object{"policy": object{"bindings": []any{object{"role": "roles/owner", "members": []any{"user:x@example.com"}}}}}
	holds(t, iamHost, []known{
		{catalog.PermissionGrant, "POST", "/v1/projects/p1:setIamPolicy", policy},
		{catalog.PermissionGrant, "POST", "/v3/organizations/1:setIamPolicy", policy},
		{catalog.PermissionGrant, "POST", "/v1/projects/p1/serviceAccounts/a@p1:setIamPolicy", policy},
		{catalog.PermissionGrant, "POST", "/v1/projects/p1/locations/global/workloadIdentityPools/x:setIamPolicy", policy},
		{catalog.CredentialReset, "POST", "/v1/projects/p1/serviceAccounts/a@p1/keys", object{}},
		{catalog.CredentialReset, "POST", "/v1/projects/p1/serviceAccounts/a@p1/keys:upload", object{}},
		{catalog.CredentialReset, "POST", "/v1/projects/-/serviceAccounts/a@p1:generateAccessToken", object{}},
		{catalog.CredentialReset, "POST", "/v1/projects/-/serviceAccounts/a@p1:signJwt", object{}},
		{catalog.AccountCreation, "POST", "/v1/projects/p1/serviceAccounts", object{"accountId": "x"}},
		{catalog.AccountCreation, "POST", "/v1/projects/p1/serviceAccounts/a@p1:enable", nil},
		{catalog.PermissionGrant, "PATCH", "/v1/projects/p1/roles/r1", object{}},
		{catalog.PermissionGrant, "POST", "/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2Fp1/denypolicies", object{}},
		{catalog.SecurityConfig, "POST", "/v1/projects/p1:setOrgPolicy", object{}},
		{catalog.SecurityConfig, "POST", "/v1/locations/global/workforcePools", object{}},
		{catalog.Read, "GET", "/v1/projects/p1/secrets/s1/versions/latest:access", nil},
		{catalog.Read, "GET", "/v2/projects/p1/locations/global/keys/1/keyString", nil},
		{catalog.SecurityConfig, "POST", "/google.iam.admin.v1.IAM/CreateServiceAccountKey", nil},
		{catalog.PermissionGrant, "PUT", "/storage/v1/b/b1/iam", object{"bindings": []any{}}},
		{catalog.PermissionGrant, "POST", "/storage/v1/b/b1/o/a.txt/acl", object{"entity": "allUsers", "role": "READER"}},
		{catalog.CredentialReset, "POST", "/storage/v1/projects/p1/hmacKeys", nil},
		{catalog.PermissionGrant, "POST", "/compute/v1/projects/p1/zones/z/instances/i/setIamPolicy", policy},
	})
	m := byHost(t, "cloudresourcemanager.googleapis.com").Match(call("POST", "/v1/projects/p1:setIamPolicy", policy))
	if want := "Give user:x@example.com the role Owner on p1"; m.Summary != want {
		t.Errorf("Summary = %q, want %q", m.Summary, want)
	}
}

func TestCloudIAMLetsReadsAndRenamesPass(t *testing.T) {
	passes(t, iamHost, []known{
		{"", "POST", "/v1/projects/p1:getIamPolicy", object{}},
		{"", "POST", "/v1/projects/p1:testIamPermissions", object{}},
		{"", "POST", "/v1/projects/p1/serviceAccounts/a@p1:getIamPolicy", nil},
		{"", "POST", "/v1/locations/global/workforcePools/x:getIamPolicy", nil},
		{"", "POST", "/v1/permissions:queryTestablePermissions", object{}},
		{"", "POST", "/v2/entries:list", object{"filter": "SetIamPolicy"}},
		{"", "POST", "/v1/organizations/1:queryAssets", object{}},
		{"", "POST", "/compute/v1/projects/p1/zones/z/instances/i/reset", nil},
		{"", "GET", "/storage/v1/b/b1/o", nil},
		{"", "POST", "/v1/iamPolicies:lintPolicy", object{}},
		{"", "POST", "/v1/organizations:search", object{}},
		{"", "PATCH", "/v1/projects/p1/serviceAccounts/a@p1", object{"serviceAccount": object{"displayName": "x"}, "updateMask": "displayName"}},
		{"", "PATCH", "/v3/projects/p1", object{"displayName": "x"}},
		{"", "POST", "/v1/token", object{}},
		{"", "GET", "/v1/projects/p1/serviceAccounts/a@p1/keys", nil},
		{"", "GET", "/v1/projects/p1/roles", nil},
	})
}
