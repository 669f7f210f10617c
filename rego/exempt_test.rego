package countersign_test

import data.countersign
import rego.v1

test_an_exemption_lifts_a_step_up_and_is_recorded if {
	d := countersign.decision with input as reset with data.countersign.rules.exempt as {note("drill")}
	d.effect == "allow"
	d.reasons == [
		{"code": "exempt", "text": "drill: Because."},
		{"code": "credential_reset", "text": "It changes how somebody signs in."},
	]
}

test_an_exemption_lifts_a_customers_step_up if {
	d := countersign.decision with input as read
		with data.countersign.rules.step_up as {note("vip")}
		with data.countersign.rules.exempt as {note("drill")}
	d.effect == "allow"
	codes(d) == {"exempt", "vip"}
}

test_an_exemption_lifts_a_call_that_is_one_operation if {
	one := object.union(reset, {"operation": {"also": []}})
	countersign.decision.effect == "allow" with input as one with data.countersign.rules.exempt as {note("drill")}
}

test_an_exemption_does_not_lift_a_call_that_is_a_second_sensitive_operation if {
	two := object.union(reset, {"operation": {"also": ["user.type.update"]}})
	d := countersign.decision with input as two with data.countersign.rules.exempt as {note("drill")}
	d.effect == "step_up"
	codes(d) == {"credential_reset"}
}

test_an_exemption_lifts_no_denial if {
	exempt := {note("drill")}
	countersign.decision.effect == "deny" with input as reset
		with data.countersign.rules.deny as {note("frozen")}
		with data.countersign.rules.exempt as exempt
	countersign.decision.effect == "deny" with input as call({"operation": {"category": "odd"}})
		with data.countersign.rules.exempt as exempt
	countersign.decision.effect == "deny" with input as reset
		with data.countersign.config.others as "deny"
		with data.countersign.rules.exempt as exempt
	countersign.decision.effect == "deny" with input as unlisted
		with data.countersign.settings.unlisted_writes as "deny"
		with data.countersign.rules.exempt as exempt
}

test_an_allowed_call_needs_no_exemption if {
	d := countersign.decision with input as read with data.countersign.rules.exempt as {note("drill")}
	d.effect == "allow"
	d.reasons == []
}

test_exempt_rules_see_operation_attested_subject_and_context_only if {
	seen := countersign.exempt_input with input as reset
	object.keys(seen) == {"operation", "subject", "context"}
	seen.operation == reset.operation
	seen.subject == {
		"agent": "helpdesk-1",
		"requester": {
			"id": "alice@contoso.com", "assurance": "attested", "oid": "0A1B",
			"claims": {"department": "IT"},
		},
	}
}

test_exempt_rules_see_nobody_who_is_not_attested if {
	every assurance in ["asserted", "none", ""] {
		seen := countersign.exempt_input
			with input as object.union(reset, {"subject": {"requester": {"assurance": assurance}}})
		seen.subject == {"agent": "", "requester": {"id": "", "assurance": "none", "claims": {}}}
	}
}
