# Whether the requester acts on their own account. Off unless data.countersign.config.others is "deny".
package countersign

import rego.v1

not_self contains reason("not_self") if {
	data.countersign.config.others == "deny"
	input.operation.resource.type == "user"
	not quiet_read
	not own_account
}

# Reading about others is an agent's daily work, and tells nobody anything but the agent.
quiet_read if {
	ordinary
	input.operation.category == "read"
}

# "me" is the account that the agent signed in with, so it is nobody's own here.
own_account if {
	input.subject.requester.assurance in {"attested", "asserted"}
	id := lower(input.operation.resource.id)
	id != ""
	id in {lower(input.subject.requester.id), lower(object.get(input.subject.requester, "oid", ""))}
}
