# Agents of this site work in the global cloud, for people in the countries it serves. Everything else is denied.
package countersign.rules

import rego.v1

deny contains {
	"code": "foreign_cloud",
	"text": sprintf("This site does not administer %s.", [input.request.host]),
} if {
	input.request.host in {
		"graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn",
	}
}

deny contains {
	"code": "country",
	"text": "Requests from your country are handled by another site.",
} if {
	input.operation.category != "read"
	not served_country
}

# A claim of the signed assertion. Without one nobody knows where the requester is.
served_country if {
	input.subject.requester.assurance == "attested"
	input.subject.requester.claims.country in {"DE", "AT", "CH"}
}
