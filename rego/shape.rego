# The shapes of customers' rules. What does not fit is named here, and an answer that has such a name is refused.
package countersign

import rego.v1

malformed contains "countersign.rules.deny" if {
	some r in data.countersign.rules.deny
	not is_reason(r)
}

malformed contains "countersign.rules.step_up" if {
	some r in data.countersign.rules.step_up
	not is_step_up(r)
}

malformed contains name if some name in malformed_config

malformed_config contains "countersign.config.others" if {
	not data.countersign.config.others in {"allow", "deny"}
	is_set_to_something(data.countersign.config.others)
}

is_set_to_something(_)

malformed_exempt contains "countersign.rules.exempt" if {
	some r in exempt
	not is_reason(r)
}

malformed_requirement contains "countersign.rules.requirement" if {
	some part in data.countersign.rules.requirement
	not is_requirement(part)
}

# The compiler knows the shape of each rule of a customer, and would refuse our modules for naming a field that none of
# those rules has.
untyped(x) := object.get({"x": x}, "x", null)

is_reason(r) if {
	is_object(r)
	object.keys(r) == {"code", "text"}
	is_text(r.code)
	is_text(r.text)
}

is_step_up(r) if is_reason(r)

is_step_up(r) if {
	is_object(r)
	object.keys(r) == {"code", "text", "requirement"}
	is_reason(object.remove(r, {"requirement"}))
	is_requirement(r.requirement)
}

is_requirement(part) if {
	is_object(part)
	every key, value in part {
		is_part(key, value)
	}
}

is_part("approver", "requester")

is_part("providers", names) if is_list(names)

is_part(key, words) if {
	key in {"capabilities", "prefer"}
	is_list(words)
	every word in words {
		word in {"text", "number_match", "phishing_resistant"}
	}
}

is_part("amr", names) if is_list(names)

is_list(names) if {
	is_collection(names)
	every name in names {
		is_text(name)
	}
}

is_collection(x) if is_array(x)

is_collection(x) if is_set(x)

is_text(x) if {
	is_string(x)
	trim_space(x) != ""
}
