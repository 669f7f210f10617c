# Each tenant verifies its people with the provider it has bought. A tenant that is not listed is denied.
package countersign.rules

import rego.v1

requirement contains {"providers": data.acme.providers[input.subject.requester.tid]}

deny contains {
	"code": "unknown_tenant",
	"text": "Your organization has no way to verify you. Ask IT to set one up.",
} if {
	input.operation.sensitive
	not known_tenant
}

known_tenant if data.acme.providers[input.subject.requester.tid]
