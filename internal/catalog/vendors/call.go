package vendors

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"countersign/internal/catalog"
	"countersign/internal/operation"
)

// placeholder stands in for every parameter of a template. It is no word of any API, no version and no key syntax.
const placeholder = "x0"

var parameter = regexp.MustCompile(`\{[^{}/]*\}`)

// caller makes the calls of a description's operations as the sidecar would read them.
type caller struct {
	api     *catalog.API
	host    string
	service string // AWS
	parser  *operation.Parser
}

// errNoPath is the error of an operation of AWS that is known by its path where the description has none.
var errNoPath = errors.New("the service goes by method and path, and this format has none: use its service model")

// call returns the operation in the API's normal form. An error says that no request of this form would be read at all.
func (c *caller) call(o Operation) (catalog.Call, error) {
	if c.service != "" {
		return c.awsCall(o)
	}
	sem := c.api.Semantics()
	target := parameter.ReplaceAllString(o.Path, placeholder)
	first, _, _ := strings.Cut(strings.TrimPrefix(target, "/"), "/")
	if len(sem.Versions) > 0 && !slices.Contains(sem.Versions, first) {
		target = "/" + sem.Versions[0] + target
	}
	read, err := c.parser.Parse(operation.Request{Method: o.Method, Scheme: "https", Host: c.host, Target: target})
	if err != nil {
		return catalog.Call{}, fmt.Errorf("read %s %s: %w", o.Method, o.Path, err)
	}
	if len(read.Inputs) != 1 {
		return catalog.Call{}, fmt.Errorf("read %s %s: %d operations", o.Method, o.Path, len(read.Inputs))
	}
	segments := read.Inputs[0].Request.Segments
	if len(sem.Versions) > 0 && len(segments) > 0 && slices.Contains(sem.Versions, segments[0]) { // for policy, not for the matcher
		segments = segments[1:]
	}
	return catalog.Call{Method: o.Method, Segments: segments, BodyKind: "none"}, nil
}

// awsCall names an operation as internal/operation does: by action, by method and path, or as an object of S3.
func (c *caller) awsCall(o Operation) (catalog.Call, error) {
	aws := c.api.Semantics().AWS
	if aws == nil {
		return catalog.Call{}, fmt.Errorf("%s does not go by services", c.api.Name())
	}
	var path []string
	for seg := range strings.SplitSeq(strings.Trim(parameter.ReplaceAllString(o.Path, placeholder), "/"), "/") {
		if seg != "" {
			path = append(path, seg)
		}
	}
	switch {
	case slices.Contains(aws.RPC, c.service):
		return catalog.Call{Method: "POST", Segments: []string{"action", c.service, o.Name}, BodyKind: "none"}, nil
	case o.Path == "":
		return catalog.Call{}, errNoPath
	case c.service == "s3":
		return catalog.Call{Method: o.Method, Segments: append([]string{"s3"}, path...), BodyKind: "none"}, nil
	default:
		return catalog.Call{Method: o.Method, Segments: append([]string{"rest", c.service}, path...), BodyKind: "none"}, nil
	}
}

// verdict is what the catalog makes of one operation.
type verdict struct {
	covered   bool
	matches   []catalog.Match // that were listed: without a body, and with one that cannot be read
	entries   []catalog.Known // whose path and method are the operation's
	sensitive []string        // categories that some body or query makes of it
}

// ask runs an operation through the matcher: without a body, and with one that cannot be read, which is the worst that a
// body can be. An entry that asks for more of the body than a description says covers the operation too.
func (c *caller) ask(call catalog.Call) verdict {
	v := verdict{entries: c.api.Survey(call)}
	opaque := call
	opaque.Body, opaque.BodyKind = "?", "text"
	for _, one := range []catalog.Call{call, opaque} {
		if m := c.api.Match(one); m.Coverage == catalog.Listed {
			v.covered = true
			v.matches = append(v.matches, m)
		}
	}
	for _, e := range v.entries {
		v.covered = v.covered || e.Conditions > 0
		if e.Sensitive && !slices.Contains(v.sensitive, e.Category) {
			v.sensitive = append(v.sensitive, e.Category)
		}
	}
	return v
}
