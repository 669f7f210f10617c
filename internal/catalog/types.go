// Package catalog loads the data under rego/catalog and names operations by it: one file or more per admin API, a trie
// over path segments per API, so that a match costs by path depth and not by number of entries.
//
// An entry says which calls it is for (method, path, conditions on body or query), what they are (name, category), and
// how a person is told (summary, undone). Sensitive entries beat ordinary ones, whatever the order and however wide the
// ordinary one is; the one way around that is an exception which names the sensitive entry it lies inside. What
// no entry covers is a read, or an unlisted write. rego/catalog/README.md describes every field.
package catalog

import "reflect"

// Call is one request as the canonicaliser has read it. Path and query are in the API's normal form: version
// and tenant prefix gone, keys in their own segment, names folded where the API folds them.
type Call struct {
	Method   string
	Segments []string
	Query    map[string][]string
	Headers  map[string][]string // lower-case names; some APIs name the operation there (X-Amz-Target)
	Body     any                 // parsed JSON or form (map[string]any, []any, …), a string otherwise, nil when empty
	BodyKind string              // "json", "form", "xml", "multipart", "text", "binary", "none"
}

// Coverage says how well the catalog knows an operation.
const (
	Listed   = "listed"
	Unlisted = "unlisted"
	None     = "none"
)

// Match is what the catalog says of one call. The zero value is an unlisted write: nothing known, nothing allowed.
type Match struct {
	Name         string
	Category     string
	Coverage     string // Listed, Unlisted, None
	Sensitive    bool
	ResourceType string
	ResourceID   string
	Params       map[string]string // captured from path and body; never a secret
	Summary      string            // one line for the person: "Reset the password of bob@contoso.com"
	Undone       string            // what a refusal says: "The password of bob@contoso.com was not reset"
	Also         []string          // names of other sensitive entries that the same call is: a password and a user type in one PATCH
	// ChangesFactor says that the call changes what somebody confirms with: a phone, a token, a bypass code.
	ChangesFactor bool
	Secrets       [][]string // paths in Body to mask; "*" is every element or key
}

// Semantics says how an API's servers read a URL, so that the canonicaliser reads it the same way.
type Semantics struct {
	FoldCase     bool     `json:"fold_case"`     // path names, query names and body properties are not case-sensitive
	Keys         string   `json:"keys"`          // "odata": users('id'), users(id), alternate keys name='value'; "" none
	Versions     []string `json:"versions"`      // known first segments; anything else in its place is uninspectable
	TenantPrefix bool     `json:"tenant_prefix"` // /{version}/{tenant}/… and /{version}/myorganization/… are good
	Namespaces   []string `json:"namespaces"`    // prefixes of qualified actions and casts: "microsoft.graph."
	Batch        string   `json:"batch"`         // path, after the version, of the batch endpoint: "$batch"; * is any segment
	BatchMax     int      `json:"batch_max"`     // parts a batch may have

	// BatchNames says what a part's members are called where it is not as in Graph's: id, method, headers, body. Parts
	// of such a batch need no id.
	BatchNames map[string]string `json:"batch_names"`
	// BatchAbsolute says that a part's URL may be absolute, as long as it names the host that the batch was sent to.
	BatchAbsolute bool `json:"batch_absolute"`

	// MethodHeaders lists, in lower case, headers that make a PUT, PATCH, MERGE or DELETE of a POST and that the API's
	// servers document. Any other header of that kind is uninspectable.
	MethodHeaders []string `json:"method_headers"`

	// Unreadable lists first segments of paths under which a request carries a session of its own, such as remote
	// PowerShell: nobody can tell what it does, so it is uninspectable.
	Unreadable []string `json:"unreadable"`

	// Tokens says that clients get their tokens here. A request that names a client of the sidecar's own is held against it.
	Tokens bool `json:"tokens"`

	// CleanReads says that GET and HEAD change nothing here, whatever the path: one with doubled slashes or dot segments is read
	// in each way in which a server may, and passes where every one of them is an ordinary read.
	CleanReads bool `json:"clean_reads"`

	// QuotedSlashes says that a key in quotes may have slashes: getFileByServerRelativeUrl('/sites/hr/a.docx').
	QuotedSlashes bool `json:"quoted_slashes"`

	// AWS says that the host names a service and that a service of the list RPC is told what to do by Action, X-Amz-Target
	// or a Smithy path rather than by method and path.
	AWS *AWS `json:"aws"`

	GraphQL    []string `json:"graphql"`     // paths of endpoints whose requests are GraphQL documents
	JSONRPC    []string `json:"json_rpc"`    // paths of endpoints whose requests name a method in their JSON, alone or in an array
	SignedAuth bool     `json:"signed_auth"` // Basic credentials are a key and a signature made afresh for each request

	Slashed []string `json:"slashed"` // paths whose last segment is a name that may have an escaped slash: repos/*/*/branches/*
	Uploads []string `json:"uploads"` // paths that take a file, whatever its content type: repos/*/*/releases/*/assets

	// SelfHosted lists where the API lives on a host that no catalog knows: a path, and what stands for it in the
	// catalog. GitHub Enterprise Server has its REST API under api/v3.
	SelfHosted map[string]string `json:"self_hosted"`

	// PathAddressed lists collections in which an id that ends in a colon starts a path of names, up to the next
	// colon: items/ID:/a/b:/content. root:/a/b: is always one where the list is not empty.
	PathAddressed []string `json:"path_addressed"`

	// PlainKeys lists alternate keys whose value means the same as a key without a name: users(userPrincipalName='x')
	// is the resource x. Other alternate keys keep their name, because appId=x and x are two things.
	PlainKeys []string `json:"plain_keys"`
}

// AWS tells the services of AWS apart by how their requests name an operation. A service in neither list is read by
// method and path, and its reads are not taken for reads once the request names an action somewhere.
type AWS struct {
	RPC   []string `json:"rpc"`   // query, JSON and CBOR protocols: the operation has a name
	Paths []string `json:"paths"` // of RPC, those where an action's path is what it acts on
	REST  []string `json:"rest"`  // the operation is method and path, and nothing else is looked at
}

func (s Semantics) isZero() bool { return reflect.ValueOf(s).IsZero() }
