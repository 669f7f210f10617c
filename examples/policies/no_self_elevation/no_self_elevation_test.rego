package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

elevate(principal) := d if d := countersign.decision with input as object.union(
	testing.elevation,
	{"operation": {"params": {"principal": principal}}},
)

test_a_role_for_oneself_is_denied if {
	every name in ["alice@contoso.com", "Alice@Contoso.COM", "00000000-0000-4000-8000-00000000000A"] {
		d := elevate(name)
		d.effect == "deny"
		testing.codes(d) == {"self_elevation"}
	}
}

test_a_role_for_somebody_else_is_held if elevate("bob@contoso.com").effect == "step_up"

test_a_group_for_oneself_is_denied if {
	d := countersign.decision with input as object.union(testing.grant, {"operation": {"params": {"member": "alice@contoso.com"}}})
	testing.codes(d) == {"self_elevation"}
}

test_an_app_role_for_oneself_is_denied if {
	d := countersign.decision with input as object.union(
		testing.grant,
		{"operation": {"resource": {"type": "principal", "id": "alice@contoso.com"}, "params": {}}},
	)
	testing.codes(d) == {"self_elevation"}
}

test_ones_own_password_is_another_matter if {
	d := countersign.decision with input as object.union(
		testing.reset,
		{"operation": {"resource": {"id": "alice@contoso.com"}}},
	)
	d.effect == "step_up"
}
