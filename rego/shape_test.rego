package countersign_test

import data.countersign
import rego.v1

crooked := [
	"no", true, false, null, 7, [], {}, {"code": "a"}, {"text": "b"}, {"code": "", "text": "b"}, {"code": "a", "text": " "},
	{"code": 1, "text": "b"}, {"code": "a", "text": "b", "more": 1},
]

test_a_deny_of_the_wrong_shape_is_no_answer if {
	every r in crooked {
		d := countersign.decision with input as read with data.countersign.rules.deny as {r}
		d.malformed == {"countersign.rules.deny"}
		not d.effect
	}
}

test_a_step_up_of_the_wrong_shape_is_no_answer if {
	every r in crooked {
		d := countersign.decision with input as read with data.countersign.rules.step_up as {r}
		d.malformed == {"countersign.rules.step_up"}
		not d.effect
	}
}

test_a_step_up_with_a_crooked_requirement_is_no_answer if {
	d := countersign.decision with input as read
		with data.countersign.rules.step_up as {object.union(note("vip"), {"requirement": {"provider": "duo"}})}
	d.malformed == {"countersign.rules.step_up"}
}

test_an_exemption_of_the_wrong_shape_is_no_answer if {
	every r in crooked {
		d := countersign.decision with input as reset with data.countersign.rules.exempt as {r}
		d.malformed == {"countersign.rules.exempt"}
		not d.effect
	}
}

test_one_good_rule_does_not_cover_up_for_a_crooked_one if {
	d := countersign.decision with input as read with data.countersign.rules.deny as {note("frozen"), "no"}
	d.malformed == {"countersign.rules.deny"}
}

test_an_unknown_value_of_config_is_no_answer if {
	every value in ["denny", "", null, true, false] {
		d := countersign.decision with input as read with data.countersign.config.others as value
		d.malformed == {"countersign.config.others"}
		not d.effect
	}
}

test_well_shaped_rules_are_read if {
	d := countersign.decision with input as read with data.countersign.rules.deny as {note("frozen")}
	not d.malformed
}
