package operation

import (
	"maps"
	"slices"
	"strings"
)

// The roots under which the catalog has AWS operations: by name, by method and path, and objects of S3, whose keys may
// look like anything.
const (
	awsAction  = "action"
	awsREST    = "rest"
	awsObjects = "s3"
)

// awsCall names the operation of an AWS request. Which protocol a service speaks is the catalog's data: an action named to a
// service that goes by method and path means nothing there, and must not mean anything here.
// https://smithy.io/2.0/aws/protocols/index.html
func (s *surface) awsCall(r reading) (reading, error) {
	service := awsService(s.api.Labels(s.host))
	rest := append([]string{awsREST, service}, r.target.segments...)
	if service == awsObjects {
		return r.as(r.method, nil, rest[1:]...), nil
	}
	if slices.Contains(s.sem.AWS.REST, service) {
		return r.as(r.method, nil, rest...), nil
	}
	action, args, err := awsOperation(r, slices.Contains(s.sem.AWS.Paths, service))
	switch {
	case err != nil:
		return r, err
	case action == "" && slices.Contains(s.sem.AWS.RPC, service) && len(r.target.segments) == 0 && (r.body.kind == kindText || r.body.kind == kindBinary):
		return r, refuse("the body is no form, and may name an action all the same")
	case action == "":
		return r.as(r.method, nil, rest...), nil
	case slices.Contains(s.sem.AWS.RPC, service):
		return r.as("POST", args, awsAction, service, action), nil
	default: // not known to look at the action, nor not to
		return r.as("POST", nil, rest...), nil
	}
}

// awsOperation finds the operation's name, and its parameters where they are not the body as it stands.
func awsOperation(r reading, anyPath bool) (name string, args any, err error) {
	query, err := awsQueryOperation(r)
	if err != nil {
		return "", nil, err
	}
	if query != "" && len(r.target.segments) > 0 && !anyPath {
		return "", nil, refuse("the action is named beside a path")
	}
	target, err := awsTargetOperation(r)
	if err != nil {
		return "", nil, err
	}
	path, err := awsPathOperation(r)
	if err != nil {
		return "", nil, err
	}
	found := slices.DeleteFunc([]string{query, target, path}, func(s string) bool { return s == "" })
	switch {
	case len(found) == 0:
		return "", nil, nil
	case len(found) > 1:
		return "", nil, refuse("the operation is named in two places")
	case query != "":
		args, err = awsParameters(r)
		return query, args, err
	default:
		return found[0], nil, nil
	}
}

// awsQueryOperation reads Action of the query protocols, which stands in the form or in the URL, never in both.
func awsQueryOperation(r reading) (string, error) {
	var values []string
	for name, v := range r.target.query {
		if strings.EqualFold(name, "Action") {
			if name != "Action" {
				return "", refuse("the action's parameter is not written as the API knows it")
			}
			values = append(values, v...)
		}
	}
	form, _ := r.body.value.(map[string]any)
	if r.body.kind == kindForm {
		for name, v := range form {
			if strings.EqualFold(name, "Action") {
				if name != "Action" {
					return "", refuse("the action's parameter is not written as the API knows it")
				}
				text, _ := v.(string)
				values = append(values, text)
			}
		}
	}
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", refuse("the action is named twice")
	case r.body.kind != kindForm && r.body.kind != kindNone:
		return "", refuse("the action is named beside a body that is no form")
	case !isIdentifier(values[0]):
		return "", refuse("the action is not a name")
	default:
		return values[0], nil
	}
}

// awsTargetOperation reads X-Amz-Target of the JSON and CBOR protocols: Service_Version.Operation.
func awsTargetOperation(r reading) (string, error) {
	values := r.headers["x-amz-target"]
	if len(values) == 0 {
		return "", nil
	}
	service, name, ok := cutLast(values[0], ".")
	if len(values) > 1 || !ok || !isIdentifier(name) || !isIdentifier(strings.ReplaceAll(service, ".", "_")) {
		return "", refuse("the target header does not name one operation")
	}
	if r.method != "POST" || len(r.target.segments) > 0 || !isMessage(r) {
		return "", refuse("the target header stands on a request that is none of its protocol")
	}
	return name, nil
}

// awsPathOperation reads the path of Smithy's RPC v2 protocol: /service/NAME/operation/NAME.
func awsPathOperation(r reading) (string, error) {
	p := r.target.segments
	if len(p) != 4 || p[0] != "service" || p[2] != "operation" {
		return "", nil
	}
	if r.method != "POST" || !isIdentifier(p[1]) || !isIdentifier(p[3]) || !isMessage(r) {
		return "", refuse("the path does not name one operation")
	}
	return p[3], nil
}

// isMessage reports whether a body is one of the JSON and CBOR protocols. Octets of another type could be a form that names another
// operation.
func isMessage(r reading) bool {
	switch r.body.kind {
	case kindJSON, kindNone:
		return true
	case kindBinary:
		types := r.headers["content-type"]
		return len(types) == 1 && strings.Contains(strings.ToLower(types[0]), "cbor")
	default:
		return false
	}
}

// awsParameters joins the parameters of query and form. None may stand in both.
func awsParameters(r reading) (map[string]any, error) {
	out := map[string]any{}
	if form, ok := r.body.value.(map[string]any); ok {
		maps.Copy(out, form)
	}
	for name, v := range r.target.query {
		if isPresign[strings.ToLower(name)] {
			continue
		}
		if _, twice := out[name]; twice || len(v) != 1 {
			return nil, refuse("a parameter stands twice")
		}
		out[name] = v[0]
	}
	if v, ok := out["Version"].(string); ok && !isVersionDate(v) {
		return nil, refuse("the version is not a date")
	}
	return out, nil
}

// isVersionDate reports whether s is YYYY-MM-DD.
func isVersionDate(s string) bool {
	for i := range len(s) {
		if dash := i == 4 || i == 7; dash != (s[i] == '-') || !dash && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return len(s) == 10
}

// awsService finds the service among the labels of a host: what is neither a region nor a kind of endpoint, the last
// of it, since names of buckets, accounts and private endpoints stand in front. "" when there is none.
func awsService(labels []string) string {
	service := ""
	for _, l := range labels {
		if l != "dualstack" && l != "vpce" && l != "global" && l != "fips" && !isRegion(l) {
			service = l
		}
	}
	service = strings.TrimSuffix(strings.TrimPrefix(service, "fips-"), "-fips")
	if s := service; (s == "s3" || strings.HasPrefix(s, "s3-") || strings.HasPrefix(s, "s3express-")) && s != "s3-control" {
		return awsObjects // s3-us-west-2, s3-accelerate, s3-object-lambda: objects all
	}
	return service
}

// isRegion reports whether a label is a region's name: us-east-1, us-gov-west-1, cn-north-1, eusc-de-east-1; us-gov and
// the like stand in for one in the names of global services.
func isRegion(s string) bool {
	parts := strings.Split(s, "-")
	last := parts[len(parts)-1]
	if s == "us-gov" || s == "cn" {
		return true
	}
	if len(parts) < 3 || len(parts[0]) < 2 || len(parts[0]) > 4 || len(last) > 2 || last == "" {
		return false
	}
	for _, p := range parts[:len(parts)-1] {
		if strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") != "" || p == "" {
			return false
		}
	}
	return strings.Trim(last, "0123456789") == ""
}

// isStored reports whether a request writes an object of S3, without one of the queries that make it something else.
func (s *surface) isStored(method string, t target) bool {
	if s.sem.AWS == nil || method != "PUT" || len(t.segments) == 0 || awsService(s.api.Labels(s.host)) != awsObjects {
		return false
	}
	for name := range t.query {
		low := strings.ToLower(name)
		if !isPresign[low] && low != "x-id" && low != "partnumber" && low != "uploadid" {
			return false
		}
	}
	return true
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
