package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

with_ticket(ticket) := d if d := countersign.decision with input as object.union(testing.reset, {"subject": {"ticket": ticket}})

test_a_ticket_is_enough if with_ticket("T-1042").effect == "step_up"

test_no_ticket_is_denied if {
	every ticket in ["", "none", "T-", "XT-1", "T-1 ", "T-1\n", "T-123456789"] {
		testing.codes(with_ticket(ticket)) == {"no_ticket"}
	}
}

test_ordinary_work_needs_none if {
	countersign.decision.effect == "allow" with input as object.union(testing.update, {"subject": {"ticket": ""}})
}
