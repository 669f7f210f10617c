# For the tests of customers' rules: inputs to start from, and a look at decisions. Only `countersign policy test` loads
# it.
package countersign.testing

import rego.v1

# call is a read by an attested requester, with what a test changes about it.
call(changes) := object.union(read, changes)

read := {
	"subject": {
		"agent": "helpdesk-1",
		"requester": {
			"id": "alice@contoso.com",
			"assurance": "attested",
			"oid": "00000000-0000-4000-8000-00000000000a",
			"tid": "00000000-0000-4000-8000-0000000000cc",
			"claims": {"sub": "alice@contoso.com", "groups": ["staff"]},
		},
		"ticket": "T-1042",
	},
	"operation": {
		"api": "microsoft-graph",
		"name": "",
		"category": "read",
		"catalog": "unlisted",
		"resource": {"type": "user", "id": "bob@contoso.com"},
		"params": {},
		"sensitive": false,
		"summary": "GET graph.microsoft.com/v1.0/users/bob@contoso.com",
		"undone": "",
	},
	"request": {
		"method": "GET",
		"host": "graph.microsoft.com",
		"path": "/v1.0/users/bob@contoso.com",
		"segments": ["v1.0", "users", "bob@contoso.com"],
		"query": {},
		"headers": {},
		"body": null,
		"body_kind": "none",
		"digest": "sha-256:0000000000000000000000000000000000000000000000000000000000000000",
	},
	"context": {"time": "2026-11-24T10:00:00Z", "revision": "test"},
	"evidence": null,
}

# update is an ordinary write.
update := call({
	"operation": {
		"name": "user.profile.update",
		"catalog": "listed",
		"category": "ordinary_write",
		"summary": "Change bob@contoso.com",
		"undone": "bob@contoso.com was not changed",
	},
	"request": {"method": "PATCH", "body": {"jobTitle": "Engineer"}, "body_kind": "json"},
})

# reset is a credential reset, which the floor holds.
reset := call({
	"operation": {
		"name": "user.password.reset",
		"catalog": "listed",
		"category": "credential_reset",
		"sensitive": true,
		"summary": "Reset the password of bob@contoso.com",
		"undone": "The password of bob@contoso.com was not reset",
	},
	"request": {"method": "PATCH", "body": {"passwordProfile": {"password": "[secret]"}}, "body_kind": "json"},
})

# elevation makes bob an administrator, which the floor holds.
elevation := call({
	"operation": {
		"name": "role.assignment.create",
		"catalog": "listed",
		"category": "admin_privilege",
		"sensitive": true,
		"resource": {"type": "role", "id": "Global Administrator"},
		"params": {"principal": "bob@contoso.com", "role": "Global Administrator"},
		"summary": "Give bob@contoso.com the role Global Administrator",
		"undone": "bob@contoso.com was not given the role Global Administrator",
	},
	"request": {
		"method": "POST",
		"path": "/v1.0/roleManagement/directory/roleAssignments",
		"segments": ["v1.0", "roleManagement", "directory", "roleAssignments"],
		"body": {"roleDefinitionId": "62e90394-69f5-4237-9190-012177145e10", "principalId": "bob@contoso.com"},
		"body_kind": "json",
	},
})

# grant adds bob to a group, which the floor holds.
grant := call({
	"operation": {
		"name": "group.member.add",
		"catalog": "listed",
		"category": "permission_grant",
		"sensitive": true,
		"resource": {"type": "group", "id": "finance"},
		"params": {"member": "bob@contoso.com"},
		"summary": "Add bob@contoso.com to the group finance",
		"undone": "bob@contoso.com was not added to the group finance",
	},
	"request": {"method": "POST", "path": "/v1.0/groups/finance/members/$ref", "segments": ["v1.0", "groups", "finance", "members", "$ref"]},
})

# at is the same call at another time (RFC 3339).
at(input_, time) := object.union(input_, {"context": {"time": time}})

# by is the same call for somebody else.
by(input_, id) := object.union(input_, {"subject": {"requester": {"id": id, "claims": {"sub": id}}}})

# codes are the codes of a decision's reasons.
codes(decision) := {r.code | some r in decision.reasons}
