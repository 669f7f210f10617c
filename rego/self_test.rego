package countersign_test

import data.countersign
import rego.v1

decided(changes, others) := d if d := countersign.decision
	with input as object.union(reset, changes)
	with data.countersign.config.others as others

test_others_are_allowed_unless_the_config_says_otherwise if {
	countersign.decision.effect == "step_up" with input as reset
	decided({}, "allow").effect == "step_up"
}

test_an_operation_on_somebody_else_is_denied if {
	d := decided({}, "deny")
	d.effect == "deny"
	codes(d) == {"not_self"}
}

test_a_write_on_somebody_else_is_denied_too if {
	countersign.decision.effect == "deny" with input as update with data.countersign.config.others as "deny"
}

test_ones_own_account_passes_by_name_and_by_object_id if {
	every id in ["alice@contoso.com", "Alice@Contoso.com", "0a1b", "0A1B"] {
		decided({"operation": {"resource": {"id": id}}}, "deny").effect == "step_up"
	}
}

test_me_and_nobody_are_not_the_requester if {
	every id in ["me", "", "alice@contoso.com.evil.example"] {
		codes(decided({"operation": {"resource": {"id": id}}}, "deny")) == {"not_self"}
	}
}

test_no_requester_has_no_account if {
	codes(decided(
		{
			"operation": {"resource": {"id": "alice@contoso.com"}},
			"subject": {"requester": {"assurance": "none"}},
		},
		"deny",
	)) == {"not_self"}
	codes(decided(
		{"operation": {"resource": {"id": ""}}, "subject": {"requester": {"id": ""}}},
		"deny",
	)) == {"not_self"}
}

test_reading_about_others_stays_allowed if {
	countersign.decision.effect == "allow" with input as read with data.countersign.config.others as "deny"
}

test_a_sensitive_read_about_others_is_denied if {
	countersign.decision.effect == "deny" with input as object.union(read, {"operation": {"sensitive": true}})
		with data.countersign.config.others as "deny"
}

test_a_resource_that_is_no_user_is_not_judged if {
	decided({"operation": {"resource": {"type": "group"}}}, "deny").effect == "step_up"
}
