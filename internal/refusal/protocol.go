package refusal

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strings"
)

// Names of protocols with an error format of their own.
const (
	OAuth   = "oauth" // a token endpoint, RFC 6749
	SCIM    = "scim"  // RFC 7644
	JSONRPC = "json-rpc"
	GraphQL = "graphql"

	AWSQuery = "aws-query" // Action=… in a form or URL; answers in XML
	AWSEC2   = "aws-ec2"
	AWSJSON  = "aws-json" // X-Amz-Target
	AWSCBOR  = "aws-cbor"
	AWSS3    = "aws-s3"

	OData4       = "odata4"
	ODataVerbose = "odata-verbose"
	ODataXML     = "odata-xml"
)

// Protocol is how a request speaks to its API. It shapes the answer and nothing else: no decision hangs on it. The zero value
// is the API's usual one.
type Protocol struct {
	Name  string
	IDs   []json.RawMessage // of the calls in a JSON-RPC request; notifications have none
	Batch bool              // the calls came in an array
}

// Request is what is known of a request that is refused, maybe before it was read.
type Request struct {
	Host   string
	Target string // in origin form
	Header http.Header
	Body   []byte
}

// ProtocolOf tells the protocol of a request to an API of the catalog, "" being none of them.
func ProtocolOf(api string, r Request) Protocol {
	family, _, _ := strings.Cut(api, "-")
	switch family {
	case "aws":
		return Protocol{Name: awsProtocol(r)}
	case "github":
		if strings.HasSuffix(strings.TrimRight(r.path(), "/"), "/graphql") {
			return Protocol{Name: GraphQL}
		}
		return Protocol{}
	case "slack":
		if strings.HasPrefix(r.path(), "/scim/") {
			return Protocol{Name: SCIM}
		}
		return Protocol{}
	default:
	}
	switch {
	case r.isForm() && strings.HasSuffix(r.path(), "/token"):
		return Protocol{Name: OAuth}
	case family == "sharepoint":
		return Protocol{Name: sharepointProtocol(r)}
	default:
		return rpcProtocol(r)
	}
}

func (r Request) path() string {
	path, _, _ := strings.Cut(r.Target, "?")
	return path
}

func (r Request) isForm() bool { return r.mediaType() == "application/x-www-form-urlencoded" }

func (r Request) mediaType() string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// What a JSON-RPC request may have for each of its calls to be answered; past it one answer serves all.
const (
	maxRPCBody  = 1 << 20
	maxRPCCalls = 100
	maxRPCID    = 256
)

// rpcProtocol recognises JSON-RPC 2.0 and takes the ids of its calls, without which a client finds no call for its answer.
func rpcProtocol(r Request) Protocol {
	t := r.mediaType()
	if t != "application/json" && t != "application/json-rpc" || len(r.Body) > maxRPCBody || !bytes.Contains(r.Body, []byte(`"jsonrpc"`)) {
		return Protocol{}
	}
	type call struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
	}
	var one call
	if json.Unmarshal(r.Body, &one) == nil && one.Version == "2.0" {
		return Protocol{Name: JSONRPC, IDs: rpcIDs(one.ID)}
	}
	var all []call
	if json.Unmarshal(r.Body, &all) != nil || len(all) == 0 || len(all) > maxRPCCalls || all[0].Version != "2.0" {
		return Protocol{}
	}
	p := Protocol{Name: JSONRPC, Batch: true}
	for _, c := range all {
		p.IDs = append(p.IDs, rpcIDs(c.ID)...)
	}
	return p
}

// rpcIDs passes on an id that is one: a short string or a number.
func rpcIDs(id json.RawMessage) []json.RawMessage {
	if len(id) == 0 || len(id) > maxRPCID || !strings.ContainsRune(`"-0123456789`, rune(id[0])) {
		return nil
	}
	return []json.RawMessage{id}
}
