package countersign_test

import data.countersign
import rego.v1

test_an_ordinary_read_is_allowed if {
	countersign.decision == {
		"effect": "allow", "operation": "user.read", "category": "read",
		"summary": "Read bob@contoso.com", "reasons": [],
	} with input as read
}

test_a_reset_is_held if {
	countersign.decision == {
		"effect": "step_up", "operation": "user.password.reset", "category": "credential_reset",
		"summary": "Read bob@contoso.com",
		"reasons": {{"code": "credential_reset", "text": "It changes how somebody signs in."}},
		"requirement": {"approver": "requester", "providers": [], "capabilities": [], "amr": []},
	} with input as reset
}

test_no_input_is_denied if {
	countersign.decision.effect == "deny" with input as {}
}

test_a_customers_deny_is_stronger_than_the_floors_allow if {
	d := countersign.decision with input as read with data.countersign.rules.deny as {note("frozen")}
	d.effect == "deny"
	codes(d) == {"frozen"}
}

test_a_customers_deny_is_stronger_than_step_up if {
	d := countersign.decision with input as reset with data.countersign.rules.deny as {note("frozen")}
	d.effect == "deny"
	codes(d) == {"frozen"}
}

test_a_customers_step_up_holds_what_the_floor_allows if {
	d := countersign.decision with input as read with data.countersign.rules.step_up as {note("vip")}
	d.effect == "step_up"
	codes(d) == {"vip"}
}

test_a_customers_step_up_joins_the_floors if {
	d := countersign.decision with input as reset with data.countersign.rules.step_up as {note("vip")}
	d.effect == "step_up"
	codes(d) == {"vip", "credential_reset"}
}

test_empty_rules_change_nothing if {
	d := countersign.decision with input as read
		with data.countersign.rules as {"deny": set(), "step_up": set(), "exempt": set(), "requirement": set()}
	d.effect == "allow"
}

test_evidence_does_not_turn_step_up_into_allow if {
	evidence := {"provider": "duo", "approver": {"id": "alice@contoso.com"}, "amr": ["push"]}
	d := countersign.decision with input as object.union(reset, {"evidence": evidence})
	d.effect == "step_up"
}

test_without_a_summary_the_request_is_named if {
	d := countersign.decision with input as unlisted
	d.summary == "POST graph.microsoft.com/v1.0/users/bob@contoso.com"
}

test_a_long_path_is_cut_and_says_so if {
	long := concat("", ["/" | some _ in numbers.range(1, 300)])
	d := countersign.decision with input as object.union(unlisted, {"request": {"path": long}})
	endswith(d.summary, "… (cut)")
	count(d.summary) < 300
}
