# The nightly job may rotate the password of the scanner's mailbox: nobody is awake to approve it. The reason is in the
# journal with every use.
package countersign.rules

import rego.v1

exempt contains {
	"code": "service_mailbox",
	"text": "Nightly rotation of scanner@contoso.com, accepted as RISK-204 until 2027-03-31.",
} if {
	input.operation.name == "user.password.reset"
	lower(input.operation.resource.id) == "scanner@contoso.com"
	input.subject.requester.id == "rotation-job@contoso.com"
	time.parse_rfc3339_ns(input.context.time) < time.parse_rfc3339_ns("2027-04-01T00:00:00Z")
}
