package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

test_an_administrator_is_made_by_text if {
	d := countersign.decision with input as testing.elevation
	d.requirement.capabilities == ["text"]
}

test_a_reset_asks_for_nothing_more if {
	d := countersign.decision with input as testing.reset
	d.requirement.capabilities == []
}
