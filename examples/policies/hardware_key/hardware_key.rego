# Permissions are granted with a hardware key (RFC 8176: hwk). The provider says what was used; a push alone is denied
# at release as requirement_changed.
package countersign.rules

import rego.v1

requirement contains {"amr": ["hwk"]} if input.operation.category == "permission_grant"
