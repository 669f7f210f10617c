# Every change to a protected account is held, ordinary ones too, and wants Duo.
package countersign.rules

import rego.v1

step_up contains {
	"code": "protected_account",
	"text": sprintf("%s is a protected account.", [input.operation.resource.id]),
	"requirement": {"providers": ["duo"], "capabilities": ["text"]},
} if {
	input.operation.category != "read"
	lower(input.operation.resource.id) in data.acme.protected_accounts
}
