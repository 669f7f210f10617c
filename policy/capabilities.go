package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	// Time zones come with the binary: a rule about office hours must not depend on the image it runs in.
	_ "time/tzdata"
)

// clocked lists builtins that read the clock though OPA does not mark them: they judge a token or a certificate
// by the time of the evaluation, so that the decision could not be replayed.
var clocked = []string{
	"io.jwt.decode_verify",
	"crypto.x509.parse_and_verify_certificates",
	"crypto.x509.parse_and_verify_certificates_with_options",
}

// capabilities returns what policies may call: everything OPA has but the network, the clock, the environment
// and chance. It goes to the compiler, because the options of package rego are ignored once there is one.
func capabilities() *ast.Capabilities {
	caps := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	caps.Builtins = slices.DeleteFunc(slices.Clone(caps.Builtins), func(b *ast.Builtin) bool {
		return b.IsNondeterministic() || strings.HasPrefix(b.Name, "net.") || slices.Contains(clocked, b.Name)
	})
	caps.AllowNet = []string{} // nil would allow every host, for instance to the $ref of a schema
	return caps
}
