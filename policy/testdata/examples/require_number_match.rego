# A permission is granted only after the number on the screen has been typed into the phone.
package countersign.rules

import rego.v1

requirement contains {"capabilities": ["number_match"]} if {
	input.operation.category == "permission_grant"
}
