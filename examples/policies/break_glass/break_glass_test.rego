package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

on(call, id) := object.union(call, {"operation": {"resource": {"id": id}}})

test_break_glass_accounts_are_out_of_reach if {
	every n in numbers.range(1, 4) {
		every id in [sprintf("BG%d@contoso.onmicrosoft.com", [n]), sprintf("00000000-0000-4000-8000-0000000000B%d", [n])] {
			reset := countersign.decision with input as on(testing.reset, id)
			testing.codes(reset) == {"break_glass"}
			update := countersign.decision with input as on(testing.update, id)
			testing.codes(update) == {"break_glass"}
		}
	}
}

test_nor_are_they_put_into_groups if {
	grant := object.union(testing.grant, {"operation": {"params": {"member": "bg2@contoso.onmicrosoft.com"}}})
	countersign.decision.effect == "deny" with input as grant
}

test_they_may_be_read if countersign.decision.effect == "allow" with input as on(testing.read, "bg1@contoso.onmicrosoft.com")

test_other_accounts_are_held if countersign.decision.effect == "step_up" with input as testing.reset
