package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

job := testing.by(testing.reset, "rotation-job@contoso.com")

rotation := object.union(job, {"operation": {"resource": {"id": "Scanner@contoso.com"}}})

test_the_rotation_passes_and_says_why if {
	d := countersign.decision with input as rotation
	d.effect == "allow"
	testing.codes(d) == {"exempt", "credential_reset"}
}

test_other_mailboxes_are_held if countersign.decision.effect == "step_up" with input as job

test_others_are_held if {
	countersign.decision.effect == "step_up" with input as testing.by(rotation, "alice@contoso.com")
}

test_a_plain_header_is_not_enough if {
	asserted := object.union(rotation, {"subject": {"requester": {"assurance": "asserted"}}})
	countersign.decision.effect == "step_up" with input as asserted
}

test_the_exemption_ends if {
	countersign.decision.effect == "step_up" with input as testing.at(rotation, "2027-04-01T00:00:00Z")
}
