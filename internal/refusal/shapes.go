package refusal

import "net/http"

// A shape renders a refusal as one API's own error: content type, and a value for encoding/json.
type shape func(*Error) (contentType string, body any)

// shapes has the catalog's APIs whose SDKs want their own form. All others get RFC 9457.
var shapes = map[string]shape{
	"microsoft-graph": odata,
	"microsoft-login": oauth,
}

// problem is RFC 9457. The type is a URN: pages are in docs/problems, and a sidecar has no public address.
func problem(e *Error) (string, any) {
	return "application/problem+json", struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   Code   `json:"code"`
		Hold   string `json:"hold,omitempty"`
	}{"urn:countersign:problem:" + string(e.Code), http.StatusText(e.Code.Status()), e.Code.Status(), e.Sentence(), e.Code, e.Hold}
}

// odata is the error of OData 4.01 JSON §21.1 as Microsoft Graph writes it.
func odata(e *Error) (string, any) {
	type inner struct {
		Code Code   `json:"code"`
		Hold string `json:"hold,omitempty"`
	}
	type body struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
		Inner   inner  `json:"innerError"`
	}
	return "application/json", struct {
		Error body `json:"error"`
	}{body{e.Code, e.Sentence(), inner{e.Code, e.Hold}}}
}

// oauth is the error of RFC 6749 §5.2, which token endpoints answer and identity libraries read.
func oauth(e *Error) (string, any) {
	return "application/json", struct {
		Error       Code   `json:"error"`
		Description string `json:"error_description"`
		Hold        string `json:"hold,omitempty"`
	}{e.Code, e.Sentence(), e.Hold}
}
