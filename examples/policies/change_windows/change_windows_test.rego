package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

setting := testing.call({
	"operation": {
		"name": "conditional_access.policy.change", "category": "security_config",
		"catalog": "listed", "sensitive": true,
	},
	"request": {"method": "PATCH"},
})

changed(time) := d.effect if d := countersign.decision with input as testing.at(setting, time)

test_settings_change_in_the_window if {
	changed("2026-11-24T18:00:00Z") == "step_up"
	changed("2026-11-26T21:59:59Z") == "step_up"
}

test_settings_stay_outside_of_it if {
	changed("2026-11-24T17:59:59Z") == "deny"
	changed("2026-11-24T22:00:00Z") == "deny"
	changed("2026-11-25T19:00:00Z") == "deny"
}

test_the_window_counts_in_utc if changed("2026-11-24T17:30:00-01:00") == "step_up"

test_resets_need_no_window if {
	countersign.decision.effect == "step_up" with input as testing.at(testing.reset, "2026-11-25T19:00:00Z")
}
