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

decision := object.union(outcome, matter)

matter := {
	"operation": input.operation.name,
	"category": input.operation.category,
	"summary": summary,
}

# The first that holds is the outcome.
outcome := {"malformed": malformed} if {
	count(malformed) > 0
} else := {"effect": "deny", "reasons": denials} if {
	count(denials) > 0
} else := {"effect": "allow", "reasons": []} if {
	count(step_ups) == 0
	ordinary
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

denials contains denial if some denial in floor_denials

denials contains denial if some denial in data.countersign.rules.deny

denials contains reason("not_self") if not_self

step_ups contains step_up if some step_up in floor_step_ups

step_ups contains object.remove(step_up, {"requirement"}) if some step_up in data.countersign.rules.step_up

summary := input.operation.summary if {
	input.operation.summary != ""
} else := sprintf("%s %s%s", [input.request.method, input.request.host, input.request.path]) if {
	count(input.request.path) <= 256
} else := sprintf("%s %s%s… (cut)", [input.request.method, input.request.host, substring(input.request.path, 0, 256)])
