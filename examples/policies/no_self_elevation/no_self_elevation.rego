# Nobody asks for administrator rights or permissions for themselves.
package countersign.rules

import rego.v1

deny contains {
	"code": "self_elevation",
	"text": "Nobody may give rights to themselves. Ask your manager to request them for you.",
} if {
	input.operation.category in {"admin_privilege", "permission_grant"}
	some beneficiary in beneficiaries
	lower(beneficiary) in own_names
}

# Who gains: what the catalog knows as a parameter of the operation, or the user that it changes.
beneficiaries contains name if {
	some param in ["principal", "member", "owner", "added"]
	name := input.operation.params[param]
}

beneficiaries contains input.operation.resource.id if input.operation.resource.type in {"user", "principal"}

own_names contains lower(input.subject.requester.id)

own_names contains lower(input.subject.requester.oid)
