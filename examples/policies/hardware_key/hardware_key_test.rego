package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

test_a_grant_needs_a_hardware_key if {
	d := countersign.decision with input as testing.grant
	d.requirement.amr == ["hwk"]
}

test_a_reset_does_not if {
	d := countersign.decision with input as testing.reset
	d.requirement.amr == []
}
