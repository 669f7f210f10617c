package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

at(time) := d.effect if d := countersign.decision with input as testing.at(testing.elevation, time)

# Berlin is an hour ahead of UTC in winter, two in summer.
test_office_hours_are_berlins if {
	at("2026-11-24T06:59:59Z") == "deny"
	at("2026-11-24T07:00:00Z") == "step_up"
	at("2026-11-24T16:59:59Z") == "step_up"
	at("2026-11-24T17:00:00Z") == "deny"
	at("2026-07-01T06:00:00Z") == "step_up"
	at("2026-07-01T16:00:00Z") == "deny"
}

test_the_weekend_is_no_office_hour if {
	at("2026-11-28T10:00:00Z") == "deny"
	at("2026-11-29T10:00:00Z") == "deny"
}

test_other_work_goes_on_at_night if {
	countersign.decision.effect == "allow" with input as testing.at(testing.update, "2026-11-28T02:00:00Z")
}
