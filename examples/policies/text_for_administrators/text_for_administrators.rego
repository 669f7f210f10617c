# Who makes an administrator has to read on the phone what is about to happen: a provider that cannot show text will not do.
package countersign.rules

import rego.v1

requirement contains {"capabilities": ["text"]} if input.operation.category == "admin_privilege"
