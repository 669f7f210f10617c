# During a freeze nothing is changed but the passwords of people who are locked out. Freezes are data, so that the
# calendar changes without the rule.
package countersign.rules

import rego.v1

deny contains {
	"code": "freeze",
	"text": sprintf("Changes are frozen until %s (%s).", [freeze.until, freeze.why]),
} if {
	input.operation.category != "read"
	input.operation.name != "user.password.reset"
	some freeze in data.acme.freezes
	now := time.parse_rfc3339_ns(input.context.time)
	now >= time.parse_rfc3339_ns(freeze.from)
	now < time.parse_rfc3339_ns(freeze.until)
}
