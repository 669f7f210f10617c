package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

frozen(call, time) := d if d := countersign.decision with input as testing.at(call, time)

test_nothing_is_changed_in_a_freeze if {
	d := frozen(testing.update, "2026-12-24T12:00:00Z")
	d.effect == "deny"
	{r.text | some r in d.reasons} == {"Changes are frozen until 2027-01-04T00:00:00Z (year-end closing)."}
}

test_it_begins_and_ends_on_time if {
	frozen(testing.update, "2026-12-17T23:59:59Z").effect == "allow"
	frozen(testing.update, "2026-12-18T00:00:00Z").effect == "deny"
	frozen(testing.update, "2027-01-04T00:00:00Z").effect == "allow"
}

test_reading_and_resets_go_on if {
	frozen(testing.read, "2026-12-24T12:00:00Z").effect == "allow"
	frozen(testing.reset, "2026-12-24T12:00:00Z").effect == "step_up"
}
