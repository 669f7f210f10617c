package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

guest := {"operation": {"resource": {"id": "zoe_fabrikam.com#EXT#@contoso.onmicrosoft.com"}}}

test_guests_are_not_changed if {
	d := countersign.decision with input as object.union(testing.update, guest)
	testing.codes(d) == {"guest_account"}
}

test_guests_may_be_read if countersign.decision.effect == "allow" with input as object.union(testing.read, guest)

test_staff_are_held if countersign.decision.effect == "step_up" with input as testing.reset
