# Security settings change on Tuesday and Thursday evenings (UTC), when the change board is on call.
package countersign.rules

import rego.v1

deny contains {
	"code": "outside_change_window",
	"text": "Security settings are changed on Tuesdays and Thursdays between 18 and 22 o'clock UTC.",
} if {
	input.operation.category == "security_config"
	not in_change_window
}

in_change_window if {
	now := time.parse_rfc3339_ns(input.context.time)
	time.weekday(now) in {"Tuesday", "Thursday"}
	[hour, _, _] := time.clock(now)
	hour >= 18
	hour < 22
}
