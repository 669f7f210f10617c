package countersign_test

import data.countersign
import rego.v1

test_every_held_category_is_held_though_the_entry_is_not_marked if {
	every category in ["credential_reset", "admin_privilege", "permission_grant", "account_creation", "security_config"] {
		d := countersign.decision with input as call({"operation": {"category": category, "sensitive": false}})
		d.effect == "step_up"
		codes(d) == {category}
	}
}

test_a_sensitive_read_is_held if {
	d := countersign.decision with input as call({"operation": {"sensitive": true}})
	d.effect == "step_up"
	codes(d) == {"read"}
}

test_a_sensitive_ordinary_write_is_held if {
	d := countersign.decision with input as object.union(update, {"operation": {"sensitive": true}})
	d.effect == "step_up"
	codes(d) == {"ordinary_write"}
}

test_a_listed_ordinary_write_is_allowed if {
	countersign.decision.effect == "allow" with input as update
}

test_a_read_is_allowed_with_and_without_a_catalog if {
	every catalog in ["listed", "unlisted", "none"] {
		countersign.decision.effect == "allow" with input as call({"operation": {"catalog": catalog}})
	}
}

test_a_post_without_an_entry_is_no_read if {
	every catalog in ["unlisted", "none"] {
		d := countersign.decision with input as call({"operation": {"catalog": catalog}, "request": {"method": "POST"}})
		d.effect == "step_up"
		codes(d) == {"unlisted_write"}
	}
}

test_an_unlisted_write_is_held_by_default if {
	d := countersign.decision with input as unlisted
	d.effect == "step_up"
	codes(d) == {"unlisted_write"}
}

test_an_unlisted_write_follows_the_setting if {
	every catalog in ["unlisted", "none"] {
		every effect in ["step_up", "allow", "deny"] {
			countersign.decision.effect == effect with input as object.union(unlisted, {"operation": {"catalog": catalog}})
				with data.countersign.settings.unlisted_writes as effect
		}
	}
}

test_an_unknown_setting_denies if {
	every setting in ["alow", "", null, true] {
		d := countersign.decision with input as unlisted with data.countersign.settings.unlisted_writes as setting
		d.effect == "deny"
		codes(d) == {"unlisted_write"}
	}
}

test_the_setting_does_not_reach_sensitive_writes if {
	countersign.decision.effect == "step_up" with input as object.union(unlisted, {"operation": {"sensitive": true}})
		with data.countersign.settings.unlisted_writes as "allow"
}

test_a_token_for_the_verification_back_end_is_denied if {
	every category in ["read", "ordinary_write", "credential_reset"] {
		d := countersign.decision
			with input as call({"operation": {"name": "auth.token.verification_backend", "category": category}})
		d.effect == "deny"
		codes(d) == {"verification_backend"}
	}
}

test_another_token_is_allowed if {
	countersign.decision.effect == "allow"
		with input as object.union(update, {"operation": {"name": "auth.token"}})
}

test_what_is_not_classified_is_denied if {
	every change in [
		{"category": ""}, {"category": "harmless"}, {"category": null}, {"catalog": ""}, {"catalog": "perhaps"},
		{"sensitive": null}, {"sensitive": "false"}, {"sensitive": 0},
	] {
		d := countersign.decision with input as call({"operation": change})
		d.effect == "deny"
		codes(d) == {"unclassified"}
	}
}
