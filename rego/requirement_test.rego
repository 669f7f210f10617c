package countersign_test

import data.countersign
import rego.v1

required(parts) := d if d := countersign.decision with input as reset with data.countersign.rules.requirement as parts

test_requirements_join if {
	required({
		{"providers": ["duo", "m365"], "capabilities": ["text"]},
		{"providers": ["duo", "traceless"], "amr": ["hwk"], "approver": "requester"},
		{"capabilities": ["number_match"]},
		{},
	}).requirement == {
		"approver": "requester", "providers": ["duo"],
		"capabilities": ["number_match", "text"], "amr": ["hwk"],
	}
}

test_requirements_that_no_provider_meets_deny if {
	d := required({{"providers": ["duo"]}, {"providers": ["m365"]}})
	d.effect == "deny"
	codes(d) == {"requirement_conflict"}
	not d.requirement
}

test_a_step_up_brings_its_own_requirement if {
	vip := object.union(note("vip"), {"requirement": {"providers": ["duo"]}})
	d := countersign.decision with input as read with data.countersign.rules.step_up as {vip}
	d.requirement.providers == ["duo"]
	d.reasons == {note("vip")}
}

test_a_requirement_alone_holds_nothing if {
	d := countersign.decision with input as read with data.countersign.rules.requirement as {{"providers": ["duo"]}}
	d.effect == "allow"
	not d.requirement
}

test_a_requirement_of_the_wrong_shape_is_no_answer if {
	every part in [
		"duo", {"provider": ["duo"]}, {"providers": "duo"}, {"providers": [""]}, {"providers": [1]},
		{"capabilities": ["telepathy"]}, {"capabilities": "text"}, {"prefer": ["telepathy"]}, {"prefer": "text"}, {"amr": [null]}, {"approver": "manager"},
	] {
		d := required({part})
		d.malformed == {"countersign.rules.requirement"}
		not d.effect
	}
}

test_an_admin_privilege_is_read_before_it_is_approved_where_that_can_be if {
	d := countersign.decision with input as object.union(reset, {"operation": {"category": "admin_privilege"}})
	d.requirement == {"approver": "requester", "providers": [], "capabilities": [], "amr": [], "prefer": ["text"]}
}

test_other_categories_prefer_nothing if {
	every category in ["credential_reset", "permission_grant", "account_creation", "security_config"] {
		d := countersign.decision with input as object.union(reset, {"operation": {"category": category}})
		d.effect == "step_up"
		not d.requirement.prefer
	}
}

test_preferences_join if {
	d := countersign.decision with input as object.union(reset, {"operation": {"category": "admin_privilege"}})
		with data.countersign.rules.requirement as {{"prefer": ["number_match"]}, {"prefer": ["text"]}}
	d.requirement.prefer == ["number_match", "text"]
}
