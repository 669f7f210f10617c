package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

reading(segments) := testing.call({"request": {"path": concat("/", segments), "segments": segments}})

test_reading_a_key_is_held_for_duo if {
	d := countersign.decision with input as reading(["informationProtection", "bitlocker", "recoveryKeys", "abc"])
	d.effect == "step_up"
	d.requirement.providers == ["duo"]
}

test_so_is_listing_them if {
	countersign.decision.effect == "step_up" with input as reading(["directory", "deviceLocalCredentials"])
}

test_other_reads_are_not if countersign.decision.effect == "allow" with input as testing.read
