# The four break-glass accounts are changed by hand, with two people in the room, and never by an agent.
package countersign.rules

import rego.v1

deny contains {
	"code": "break_glass",
	"text": "Break-glass accounts are changed by hand only. Call the identity team.",
} if {
	input.operation.category != "read"
	some name in touched
	lower(name) in data.acme.break_glass
}

# An account is what the operation acts on, or one of its parameters: who is added to a group, say.
touched contains input.operation.resource.id

touched contains name if some name in input.operation.params
