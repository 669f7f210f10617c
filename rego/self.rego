# Whether the requester acts on their own account. Off unless data.countersign.config.others is "deny".
package countersign

import rego.v1

not_self if {
	data.countersign.config.others == "deny"
	input.operation.resource.type == "user"
	not ordinary_read
	not own_account
}

ordinary_read if {
	plain_read
	input.operation.sensitive == false
}

# "me" is the account that the agent signed in with, so it is nobody's own here.
own_account if {
	input.subject.requester.assurance in {"attested", "asserted"}
	id := lower(input.operation.resource.id)
	id != ""
	id in {lower(input.subject.requester.id), lower(object.get(input.subject.requester, "oid", ""))}
}
