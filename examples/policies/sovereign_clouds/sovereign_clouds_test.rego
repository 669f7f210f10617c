package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

from(call, country) := object.union(call, {"subject": {"requester": {"claims": {"country": country}}}})

test_a_national_cloud_is_denied_even_to_read if {
	d := countersign.decision with input as object.union(testing.read, {"request": {"host": "graph.microsoft.us"}})
	testing.codes(d) == {"foreign_cloud"}
}

test_served_countries_pass if {
	countersign.decision.effect == "allow" with input as from(testing.update, "AT")
	countersign.decision.effect == "step_up" with input as from(testing.reset, "CH")
}

test_other_countries_are_denied if {
	d := countersign.decision with input as from(testing.update, "US")
	testing.codes(d) == {"country"}
}

test_no_country_is_denied if countersign.decision.effect == "deny" with input as testing.update

test_a_country_nobody_signed_is_none if {
	plain := object.union(from(testing.update, "DE"), {"subject": {"requester": {"assurance": "asserted"}}})
	countersign.decision.effect == "deny" with input as plain
}
