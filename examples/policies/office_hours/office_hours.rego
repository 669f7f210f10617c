# Nobody becomes an administrator outside office hours in Berlin, or at the weekend.
package countersign.rules

import rego.v1

deny contains {
	"code": "outside_office_hours",
	"text": "Administrators are made on weekdays between 8 and 18 o'clock only.",
} if {
	input.operation.category == "admin_privilege"
	not in_office_hours
}

in_office_hours if {
	now := [time.parse_rfc3339_ns(input.context.time), "Europe/Berlin"]
	not time.weekday(now) in {"Saturday", "Sunday"}
	[hour, _, _] := time.clock(now)
	hour >= 8
	hour < 18
}
