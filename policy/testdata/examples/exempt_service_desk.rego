# The service desk may reset passwords in the training tenant without a push.
package countersign.rules

import rego.v1

exempt contains {
	"code": "training_tenant",
	"text": "Password resets in the training tenant, approved as RISK-118.",
} if {
	input.operation.name == "user.password.reset"
	endswith(lower(input.operation.resource.id), "@training.contoso.com")
	"service-desk" in input.subject.requester.claims.groups
}
