# A rule that is not enforced yet: guests' accounts are not changed by agents. With `policy.shadow: [shadow_a_new_rule]` in
# sidecar.yaml the journal has beside each decision what this rule would have made of it.
package countersign.rules

import rego.v1

deny contains {
	"code": "guest_account",
	"text": "Guests are looked after by their sponsors.",
} if {
	input.operation.category != "read"
	contains(lower(input.operation.resource.id), "#ext#@")
}
