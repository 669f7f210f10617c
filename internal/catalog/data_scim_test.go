package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

func operations(ops ...any) object {
	return object{"schemas": []any{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": ops}
}

func replace(path string, value any) object {
	return object{"op": "replace", "path": path, "value": value}
}

// Hosts that read SCIM: an API's own, and the one that stands for a server nobody else knows.
var scimHosts = []string{"api.slack.com", "scim-provisioning.service.newrelic.com"}

func TestSCIMIsHeldByAttributeWhereverItStands(t *testing.T) {
	const user, group = "/scim/v2/Users/1", "/scim/v2/Groups/1"
	for _, host := range scimHosts {
		holds(t, host, []known{
			{catalog.AccountCreation, "POST", "/scim/v2/Users", object{"userName": "x"}},
			{catalog.AccountCreation, "DELETE", user, nil},
			{catalog.AccountCreation, "PATCH", user, object{"active": false}},
			{catalog.AccountCreation, "PATCH", user, operations(replace("active", false))},
			{catalog.AccountCreation, "PATCH", user, operations(replace("urn:ietf:params:scim:schemas:core:2.0:User:active", "False"))},
			{catalog.AccountCreation, "PATCH", user, operations(object{"op": "Replace", "value": object{"Active": false}})},
			{catalog.AccountCreation, "PATCH", user, operations(replace("title", "x"), object{"op": "replace", "value": []any{object{"active": false}}})},
			{catalog.AccountCreation, "PUT", user, object{"userName": "x", "active": true}},
			{catalog.CredentialReset, "PUT", user, object{"userName": "x", "password": "y"}},
			{catalog.CredentialReset, "PATCH", user, operations(replace("password", "y"))},
			{catalog.CredentialReset, "PATCH", user, operations(replace(`emails[type eq "work"].value`, "x@example.com"))},
			{catalog.CredentialReset, "PATCH", "/scim/v2/Me", operations(replace("userName", "y"))},
			{catalog.AdminPrivilege, "PATCH", user, operations(replace("roles", []any{object{"value": "admin"}}))},
			{catalog.AdminPrivilege, "PUT", user, object{"entitlements": []any{}}},
			{catalog.SecurityConfig, "PATCH", user, operations(replace("urn:example:custom:User:level", "9"))},
			{catalog.SecurityConfig, "PUT", user, object{"displayName": "x", "level": 9}},
			{catalog.PermissionGrant, "POST", "/scim/v2/Groups", object{"displayName": "x", "members": []any{object{"value": "1"}}}},
			{catalog.PermissionGrant, "PATCH", group, operations(object{"op": "add", "path": "members", "value": []any{object{"value": "1"}}})},
			{catalog.PermissionGrant, "PATCH", group, operations(object{"op": "remove", "path": `members[value eq "1"]`})},
			{catalog.PermissionGrant, "PATCH", group, operations(object{"op": "add", "value": object{"members": []any{}}})},
			{catalog.PermissionGrant, "PUT", group, object{"displayName": "x"}},
			{catalog.PermissionGrant, "POST", "/scim/v2/Bulk", object{"Operations": []any{object{"method": "PATCH", "path": "/Groups/1"}}}},
			{catalog.CredentialReset, "POST", "/scim/v2/Bulk", object{"Operations": []any{object{"method": "PATCH", "path": "/Users/1", "data": object{"password": "x"}}}}},
		})
	}
}

func TestSCIMLetsAProfilePass(t *testing.T) {
	const user, group = "/scim/v2/Users/1", "/scim/v1/Groups/1"
	for _, host := range scimHosts {
		passes(t, host, []known{
			{"", "PATCH", user, object{"title": "active"}},
			{"", "PATCH", user, operations(replace("title", "x"), replace("name.givenName", "y"))},
			{"", "PATCH", user, operations(replace("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department", "x"))},
			{"", "PATCH", user, operations(replace("phoneNumbers", []any{object{"value": "+15550100", "type": "work"}}))},
			{"", "PATCH", user, operations(object{"op": "replace", "value": object{"displayName": "x", "title": "y"}})},
			{"", "PUT", user, object{"schemas": []any{}, "displayName": "x"}},
			{"", "POST", "/scim/v2/Groups", object{"displayName": "x"}},
			{"", "PATCH", group, operations(replace("displayName", "x"))},
			{"", "PATCH", group, operations(object{"op": "replace", "value": object{"id": "1", "displayName": "x"}})},
			{"", "POST", "/scim/v2/Users/.search", object{}},
			{"", "GET", user, nil},
			{"", "GET", "/scim/v2/ServiceProviderConfig", nil},
		})
	}
}
