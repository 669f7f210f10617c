# What needs a verification needs a ticket, of the form the ticket system has.
package countersign.rules

import rego.v1

deny contains {
	"code": "no_ticket",
	"text": "This needs a ticket. Open one and ask again.",
} if {
	input.operation.sensitive
	not has_ticket
}

has_ticket if regex.match(`^T-[0-9]{1,8}$`, input.subject.ticket)
