# Exemptions lift a step_up and nothing else. They are asked with a smaller input, so that nothing the agent writes
# into a request, and no ticket it quotes, can bring one about. A call that is a second sensitive operation as well is
# exempt from nothing: the rule named the first one and may not know of the other.
package countersign

import rego.v1

exemptions := [{"code": "exempt", "text": sprintf("%s: %s", [e.code, e.text])} | some e in untyped(exempt)]

exempt := asked if {
	count(object.get(input.operation, "also", [])) == 0
	asked := data.countersign.rules.exempt with input as exempt_input
}

exempt_input := {
	"subject": exempt_subject,
	"operation": input.operation,
	"context": input.context,
}

exempt_subject := {
	"agent": input.subject.agent,
	"requester": object.union(
		object.remove(input.subject.requester, {"claims"}),
		{"claims": object.remove(input.subject.requester.claims, {"ticket"})},
	),
} if {
	input.subject.requester.assurance == "attested"
} else := {
	"agent": "",
	"requester": {"id": "", "assurance": "none", "claims": {}},
}
