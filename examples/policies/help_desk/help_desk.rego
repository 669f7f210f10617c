# Employees act on their own account only; staff of the help desk may act on others'. Take this in place of
# data.countersign.config.others: deny, which knows no exception.
package countersign.rules

import rego.v1

deny contains {
	"code": "not_self",
	"text": "You may ask for changes to your own account only. The help desk can ask for others.",
} if {
	input.operation.resource.type == "user"
	input.operation.category != "read"
	not on_own_account
	not on_the_help_desk
}

on_own_account if lower(input.operation.resource.id) == lower(input.subject.requester.id)

on_own_account if lower(input.operation.resource.id) == lower(input.subject.requester.oid)

# Only a signed assertion says which groups somebody is in.
on_the_help_desk if {
	input.subject.requester.assurance == "attested"
	"help-desk" in input.subject.requester.claims.groups
}
