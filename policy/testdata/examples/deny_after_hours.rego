# Outside office hours in Berlin nobody becomes an administrator.
package countersign.rules

import rego.v1

deny contains {
	"code": "after_hours",
	"text": "Administrators are made between 8 and 18 o'clock only.",
} if {
	input.operation.category == "admin_privilege"
	not office_hours
}

office_hours if {
	[hour, _, _] := time.clock([time.parse_rfc3339_ns(input.context.time), "Europe/Berlin"])
	hour >= 8
	hour < 18
}
