package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

desk := {"subject": {"requester": {"claims": {"groups": ["staff", "help-desk"]}}}}

test_an_employee_may_not_act_for_others if {
	d := countersign.decision with input as testing.reset
	d.effect == "deny"
	testing.codes(d) == {"not_self"}
}

test_the_help_desk_may_and_is_asked if {
	countersign.decision.effect == "step_up" with input as object.union(testing.reset, desk)
}

test_who_only_says_to_be_the_help_desk_may_not if {
	asserted := object.union(desk, {"subject": {"requester": {"assurance": "asserted"}}})
	countersign.decision.effect == "deny" with input as object.union(testing.reset, asserted)
}

test_an_employee_acts_on_their_own_account if {
	every id in ["alice@contoso.com", "ALICE@contoso.com", "00000000-0000-4000-8000-00000000000a"] {
		own := object.union(testing.reset, {"operation": {"resource": {"id": id}}})
		countersign.decision.effect == "step_up" with input as own
	}
}

test_without_groups_and_object_id_nothing_slips_through if {
	bare := json.patch(testing.reset, [
		{"op": "remove", "path": "/subject/requester/oid"},
		{"op": "replace", "path": "/subject/requester/claims", "value": {}},
	])
	countersign.decision.effect == "deny" with input as bare
}

test_reading_stays_allowed if countersign.decision.effect == "allow" with input as testing.read
