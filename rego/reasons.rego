# The reasons of the built-in policy: stable codes, and a clause that an employee can read.
package countersign

import rego.v1

reason(code) := {"code": code, "text": reasons[code]}

reasons := {
	"credential_reset": "It changes how somebody signs in.",
	"admin_privilege": "It changes who is an administrator.",
	"permission_grant": "It gives a person or an application a permission.",
	"account_creation": "It creates, removes or disables an account.",
	"security_config": "It changes a security setting.",
	"read": "It discloses a secret.",
	"ordinary_write": "The catalog marks this change as sensitive.",
	"unlisted_write": "It changes something in a way that the catalog does not know.",
	"unclassified": "The operation could not be classified.",
	"verification_backend": "Tokens for the service that verifies people are not for agents.",
	"not_self": "It concerns an account other than the requester's own.",
	"requirement_conflict": "The policy asks for verification in ways that no provider meets together.",
}
