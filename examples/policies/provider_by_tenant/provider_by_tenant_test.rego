package countersign.rules_test

import data.countersign
import data.countersign.testing
import rego.v1

of_tenant(call, tid) := object.union(call, {"subject": {"requester": {"tid": tid}}})

test_each_tenant_has_its_providers if {
	every tid, providers in {
		"00000000-0000-4000-8000-0000000000cc": ["duo"],
		"00000000-0000-4000-8000-0000000000dd": ["duo", "m365"],
	} {
		d := countersign.decision with input as of_tenant(testing.reset, tid)
		d.requirement.providers == providers
	}
}

test_an_unknown_tenant_is_denied if {
	d := countersign.decision with input as of_tenant(testing.reset, "00000000-0000-4000-8000-0000000000ee")
	testing.codes(d) == {"unknown_tenant"}
}

test_no_tenant_is_denied if {
	nowhere := json.patch(testing.reset, [{"op": "remove", "path": "/subject/requester/tid"}])
	d := countersign.decision with input as nowhere
	testing.codes(d) == {"unknown_tenant"}
}

test_ordinary_work_needs_no_provider if {
	countersign.decision.effect == "allow" with input as of_tenant(testing.update, "00000000-0000-4000-8000-0000000000ee")
}
