# The floor: what holds before a customer writes a rule. Only an exempt rule lowers it, and never below a denial.
package countersign

import rego.v1

floor_denials contains reason("verification_backend") if {
	input.operation.name == "auth.token.verification_backend"
}

floor_denials contains reason("unclassified") if not classified

floor_denials contains reason("unlisted_write") if {
	unlisted_write
	not unlisted_writes in {"step_up", "allow"}
}

floor_step_ups contains reason(input.operation.category) if {
	input.operation.category in held_categories
}

floor_step_ups contains reason(input.operation.category) if {
	input.operation.sensitive == true
	input.operation.category in quiet_categories
}

floor_step_ups contains reason("unlisted_write") if {
	unlisted_write
	unlisted_writes == "step_up"
}

# Categories that are held whether or not the catalog marks the entry.
held_categories := {"credential_reset", "admin_privilege", "permission_grant", "account_creation", "security_config"}

# Categories that are held only where the catalog marks the entry as sensitive.
quiet_categories := {"read", "ordinary_write"}

classified if {
	input.operation.category in (held_categories | quiet_categories)
	input.operation.catalog in {"listed", "unlisted", "none"}
	is_boolean(input.operation.sensitive)
}

# What may pass with nobody asked. It has to be established: not being held is not enough.
ordinary if {
	input.operation.sensitive == false
	input.operation.catalog == "listed"
	input.operation.category in {"read", "ordinary_write"}
	input.operation.name != "auth.token.verification_backend"
}

ordinary if {
	input.operation.sensitive == false
	input.operation.catalog in {"unlisted", "none"}
	input.operation.name != "auth.token.verification_backend"
	passes_unlisted
}

passes_unlisted if unlisted_read

passes_unlisted if {
	unlisted_writes == "allow"
	unlisted_write
}

# Without an entry nobody vouches that a POST only reads.
unlisted_read if {
	input.operation.category == "read"
	input.request.method in {"GET", "HEAD", "OPTIONS"}
}

unlisted_write if {
	input.operation.category in quiet_categories
	input.operation.catalog in {"unlisted", "none"}
	not unlisted_read
}

default unlisted_writes := "step_up"

unlisted_writes := data.countersign.settings.unlisted_writes
