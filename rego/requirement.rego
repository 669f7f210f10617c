# What a step_up asks for: the customer's parts, put together so that every one of them is met.
package countersign

import rego.v1

requirement := object.union(
	{
		"approver": "requester",
		"providers": sort(providers),
		"capabilities": sort(union({to_set(object.get(p, "capabilities", [])) | some p in requirement_parts})),
		"amr": sort(union({to_set(object.get(p, "amr", [])) | some p in requirement_parts})),
	},
	preference,
)

# What is asked for only where a provider of that person has it.
default preference := {}

preference := {"prefer": sort(preferred)} if count(preferred) > 0

preferred := floor_preferred | union({to_set(object.get(p, "prefer", [])) | some p in requirement_parts})

# Whoever makes an administrator should read what they approve.
floor_preferred contains "text" if input.operation.category == "admin_privilege"

requirement_parts contains untyped(part) if some part in data.countersign.rules.requirement

requirement_parts contains untyped(step_up).requirement if some step_up in data.countersign.rules.step_up

# A part that names no provider leaves the choice to the others.
provider_sets contains names if {
	some part in requirement_parts
	names := to_set(object.get(part, "providers", []))
	count(names) > 0
}

default providers := set()

providers := intersection(provider_sets) if count(provider_sets) > 0

requirement_conflict if {
	count(provider_sets) > 0
	count(providers) == 0
}

to_set(list) := {x | some x in list}
