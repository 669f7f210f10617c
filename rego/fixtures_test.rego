package countersign_test

import rego.v1

# call is one operation with what a test changes about it.
call(changes) := object.union(
	{
		"subject": {
			"agent": "helpdesk-1",
			"requester": {
				"id": "alice@contoso.com",
				"assurance": "attested",
				"oid": "0A1B",
				"claims": {"department": "IT", "ticket": "T-1042"},
			},
			"ticket": "T-1042",
		},
		"operation": {
			"api": "microsoft-graph",
			"name": "user.read",
			"category": "read",
			"catalog": "listed",
			"resource": {"type": "user", "id": "bob@contoso.com"},
			"params": {},
			"sensitive": false,
			"summary": "Read bob@contoso.com",
		},
		"request": {
			"method": "GET",
			"host": "graph.microsoft.com",
			"path": "/v1.0/users/bob@contoso.com",
			"headers": {"x-note": ["urgent"]},
			"query": {},
			"body": null,
		},
		"context": {"time": "2026-11-24T10:00:00Z", "revision": "sha-256:00"},
		"evidence": null,
	},
	changes,
)

read := call({})

update := call({"operation": {"name": "user.update", "category": "ordinary_write"}, "request": {"method": "PATCH"}})

reset := call({
	"operation": {"name": "user.password.reset", "category": "credential_reset", "sensitive": true},
	"request": {"method": "PATCH"},
})

unlisted := call({
	"operation": {"name": "", "category": "ordinary_write", "catalog": "unlisted", "summary": ""},
	"request": {"method": "POST"},
})

codes(decision) := {r.code | some r in decision.reasons}

note(code) := {"code": code, "text": "Because."}
