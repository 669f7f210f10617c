# Every look at recovery keys and local administrator passwords is held, listing them too: the floor holds only what
# discloses one. Duo has to verify it, because the journal of Duo is what the auditors read.
package countersign.rules

import rego.v1

step_up contains {
	"code": "recovery_key",
	"text": "It is about keys that unlock a device.",
	"requirement": {"providers": ["duo"]},
} if {
	some segment in input.request.segments
	lower(segment) in {"recoverykeys", "devicelocalcredentials"}
}
