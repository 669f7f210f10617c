# The entry point: one object for one operation. Whatever no rule answers is a denial, and a customer's rule of
# the wrong shape becomes an answer that the sidecar refuses to read, never one that it overlooks.
package countersign

import rego.v1

default decision := {
	"effect": "deny",
	"operation": "",
	"category": "",
	"summary": "",
	"reasons": [{"code": "policy_denied", "text": "The policy has no rule for this operation."}],
}

# Most calls: the floor lets them pass, and nobody objects. It comes first because it is asked the most, and takes the
# catalog's summary as it is, because nobody is shown it.
decision := {
	"effect": "allow",
	"operation": input.operation.name,
	"category": input.operation.category,
	"summary": input.operation.summary,
	"reasons": [],
} if {
	ordinary
	not contested
} else := object.union(outcome, {
	"operation": input.operation.name,
	"category": input.operation.category,
	"summary": summary,
})

contested if data.countersign.rules.deny != set()

contested if data.countersign.rules.step_up != set()

contested if {
	data.countersign.config.others != "allow"
	count(malformed_config | not_self) > 0
}

# The first that holds is the outcome. None of them allows but what an exempt rule has lifted.
outcome := {"malformed": malformed} if {
	count(malformed) > 0
} else := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"malformed": malformed_exempt} if {
	count(malformed_exempt) > 0
} else := {"effect": "allow", "reasons": array.concat(exemptions, [r | some r in step_ups])} if {
	count(step_ups) > 0
	count(exemptions) > 0
} else := {"malformed": malformed_requirement} if {
	count(malformed_requirement) > 0
} else := {"effect": "deny", "reasons": [reason("requirement_conflict")]} if {
	requirement_conflict
} else := {"effect": "step_up", "reasons": step_ups, "requirement": requirement} if {
	count(step_ups) > 0
}

denials := (floor_denials | not_self) | {r | some r in data.countersign.rules.deny}

step_ups := floor_step_ups | {object.remove(untyped(r), {"requirement"}) | some r in data.countersign.rules.step_up}

summary := input.operation.summary if {
	input.operation.summary != ""
} else := sprintf("%s %s%s", [input.request.method, input.request.host, input.request.path]) if {
	count(input.request.path) <= 256
} else := sprintf("%s %s%s… (cut)", [input.request.method, input.request.host, substring(input.request.path, 0, 256)])
