package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

const slackHost = "slack.com"

func TestSlackHoldsUnderEveryMethod(t *testing.T) {
	one := object{"user_id": "U1", "team_id": "T1"}
	for _, method := range []string{"GET", "POST"} {
		holds(t, slackHost, []known{
			{catalog.AdminPrivilege, method, "/api/admin.users.setAdmin", one},
			{catalog.AdminPrivilege, method, "/api/Admin.Users.SetOwner", one},
			{catalog.AdminPrivilege, method, "/api/admin.roles.addAssignments", object{}},
			{catalog.AccountCreation, method, "/api/admin.users.invite", one},
			{catalog.AccountCreation, method, "/api/users.admin.setInactive", object{"user": "U1"}},
			{catalog.AccountCreation, method, "/api/admin.users.somethingNew", one},
			{catalog.CredentialReset, method, "/api/admin.users.session.reset", one},
			{catalog.CredentialReset, method, "/api/auth.revoke", nil},
			{catalog.CredentialReset, method, "/api/oauth.v2.access", object{"code": "x"}},
			{catalog.CredentialReset, method, "/api/users.profile.set", object{"user": "U1", "profile": `{"email":"x@example.com"}`}},
			{catalog.CredentialReset, method, "/api/users.profile.set", object{"user": "U1", "profile": `{"\u0065mail":"x@example.com"}`}},
			{catalog.PermissionGrant, method, "/api/admin.conversations.invite", object{}},
			{catalog.PermissionGrant, method, "/api/admin.apps.approve", object{}},
			{catalog.PermissionGrant, method, "/api/conversations.invite", object{"channel": "C1", "users": "U1"}},
			{catalog.PermissionGrant, method, "/api/usergroups.users.update", object{}},
			{catalog.PermissionGrant, method, "/api/usergroups.update", object{"channels": "C1"}},
			{catalog.PermissionGrant, method, "/api/files.sharedPublicURL", object{}},
			{catalog.SecurityConfig, method, "/api/admin.auth.policy.assignEntities", object{}},
			{catalog.SecurityConfig, method, "/api/admin.somethingNew.set", object{}},
		})
	}
}

func TestSlackLetsOrdinaryWorkPass(t *testing.T) {
	text := object{"channel": "C1", "text": "admin.users.setOwner please"}
	passes(t, slackHost, []known{
		{"", "POST", "/api/chat.postMessage", text},
		{"", "GET", "/api/chat.postMessage", nil},
		{"", "POST", "/api/reactions.add", text},
		{"", "POST", "/api/conversations.create", object{"name": "x"}},
		{"", "POST", "/api/conversations.list", nil},
		{"", "POST", "/api/users.lookupByEmail", object{"email": "x@example.com"}},
		{"", "POST", "/api/users.profile.set", object{"profile": `{"status_text":"at lunch"}`}},
		{"", "POST", "/api/usergroups.create", object{"name": "x"}},
		{"", "POST", "/api/files.completeUploadExternal", object{}},
		{"", "POST", "/api/views.open", object{}},
		{"", "POST", "/api/admin.users.list", object{}},
		{"", "GET", "/api/admin.conversations.search", nil},
		{"", "POST", "/api/oauth.v2.access", object{"grant_type": "refresh_token", "refresh_token": "x"}},
		{"", "POST", "/services/T1/B1/x", text},
	})
}
