package refusal

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"
)

// A shape renders a refusal as one API's own error.
type shape func(*Error) form

// form is a body, its type, and what else the API's clients look at.
type form struct {
	contentType string
	body        []byte
	header      http.Header // in canonical form; nil for none
}

// shapes has the catalog's APIs whose SDKs want their own form. All others get RFC 9457.
var shapes = map[string]shape{
	"aad-graph":       odata3,
	"aws":             aws,
	"azure-arm":       arm,
	"duo-admin":       duo,
	"exchange-online": exchange,
	"github":          github,
	"google-admin":    google,
	"google-login":    oauth,
	"microsoft-graph": odata,
	"microsoft-login": oauth,
	"okta":            okta,
	"scim":            scim,
	"sharepoint":      sharepoint,
	"slack":           slack,
}

// families has the forms of APIs that have no own line above, by the word before the first hyphen of their name:
// google-iam answers as every Google API does.
var families = map[string]shape{
	"aws": aws, "azure": arm, "duo": duo, "exchange": exchange, "github": github, "google": google, "microsoft": odata,
	"okta": okta, "scim": scim, "sharepoint": sharepoint, "slack": slack,
}

// shape chooses by protocol where that has an error format of its own, whoever's API it is, and by API otherwise.
func (e *Error) shape() shape {
	switch e.Protocol.Name {
	case OAuth:
		return oauth
	case SCIM:
		return scim
	default:
	}
	if s, ok := shapes[e.API]; ok {
		return s
	}
	family, _, _ := strings.Cut(e.API, "-")
	if s, ok := families[family]; ok {
		return s
	}
	if e.Protocol.Name == JSONRPC {
		return jsonRPC
	}
	return problem
}

// asJSON makes a form of a value that is made of strings, numbers and valid JSON, so that encoding cannot fail. Nothing is
// escaped for HTML: the type is not HTML, and nosniff goes with it.
func asJSON(contentType string, v any) form {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		buf.Reset()
	}
	return form{contentType: contentType, body: buf.Bytes()}
}

// asXML makes a form of a value that is made of strings, so that encoding cannot fail.
func asXML(contentType string, v any) form {
	b, err := xml.Marshal(v)
	if err != nil {
		b = nil
	}
	return form{contentType: contentType, body: append([]byte(xml.Header), append(b, '\n')...)}
}

// urn names a code where a URL is wanted: pages are in docs/problems, and a sidecar has no public address.
func (c Code) urn() string { return "urn:countersign:problem:" + string(c) }

// problem is RFC 9457.
func problem(e *Error) form {
	return asJSON("application/problem+json", struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   Code   `json:"code"`
		Hold   string `json:"hold,omitempty"`
	}{e.Code.urn(), http.StatusText(e.Code.Status()), e.Code.Status(), e.Sentence(), e.Code, e.Hold})
}

// oauth is the error of RFC 6749 §5.2, which token endpoints answer and identity libraries read.
func oauth(e *Error) form {
	return asJSON("application/json", struct {
		Error       Code   `json:"error"`
		Description string `json:"error_description"`
		Hold        string `json:"hold,omitempty"`
	}{e.Code, e.Sentence(), e.Hold})
}

// scim is the error of RFC 7644 §3.12, whose status is text. Its scimType is a keyword for machines, as our code is.
func scim(e *Error) form {
	return asJSON("application/scim+json", struct {
		Schemas  []string `json:"schemas"`
		Status   string   `json:"status"`
		SCIMType Code     `json:"scimType"`
		Detail   string   `json:"detail"`
		Hold     string   `json:"hold,omitempty"`
	}{[]string{"urn:ietf:params:scim:api:messages:2.0:Error"}, statusText(e), e.Code, e.Sentence(), e.Hold})
}
