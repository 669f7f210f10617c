package refusal

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// aws answers in the protocol that the service speaks; an SDK reads its error with the same reader as its result.
// https://smithy.io/2.0/aws/protocols/index.html
func aws(e *Error) form {
	var f form
	switch e.Protocol.Name {
	case AWSQuery:
		f = awsQuery(e)
	case AWSEC2:
		f = awsEC2(e)
	case AWSS3:
		f = awsS3(e)
	case AWSCBOR:
		f = awsCBOR(e)
	case AWSJSON:
		f = awsJSON(e, "application/x-amz-json-1.1")
	default:
		f = awsJSON(e, "application/json")
	}
	if f.header == nil {
		f.header = http.Header{}
	}
	if e.Hold != "" {
		f.header["X-Amzn-Requestid"] = []string{e.Hold} // where SDKs take the request's id from
	}
	return f
}

// awsJSON serves the JSON protocols with operations by name, which look for __type, and those by method and path, which look
// for the header. What stands before a # or after a : in either is cut off by clients; codes have neither.
func awsJSON(e *Error, contentType string) form {
	f := asJSON(contentType, struct {
		Type    Code   `json:"__type"`
		Code    Code   `json:"code"`
		Message string `json:"message"`
		Hold    string `json:"hold,omitempty"`
	}{e.Code, e.Code, e.Sentence(), e.Hold})
	f.header = http.Header{"X-Amzn-Errortype": {string(e.Code)}}
	return f
}

// awsError is the part that all XML protocols have in common.
type awsError struct {
	Type    string `xml:",omitempty"` // Sender or Receiver: whose fault it is
	Code    Code
	Message string
	Hold    string `xml:",omitempty"`
}

func newAWSError(e *Error) awsError {
	whose := "Sender"
	if e.Code.Status() >= http.StatusInternalServerError {
		whose = "Receiver"
	}
	return awsError{whose, e.Code, e.Sentence(), e.Hold}
}

// awsQuery serves the query protocol, and XML by method and path other than S3's.
func awsQuery(e *Error) form {
	return asXML("text/xml", struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     awsError
		RequestID string `xml:"RequestId"`
	}{Error: newAWSError(e), RequestID: e.Hold})
}

// awsEC2 spells the same differently.
func awsEC2(e *Error) form {
	inner := newAWSError(e)
	inner.Type = ""
	return asXML("text/xml", struct {
		XMLName   xml.Name `xml:"Response"`
		Error     awsError `xml:"Errors>Error"`
		RequestID string
	}{Error: inner, RequestID: e.Hold})
}

// awsS3 has no envelope.
func awsS3(e *Error) form {
	return asXML("application/xml", struct {
		XMLName   xml.Name `xml:"Error"`
		Code      Code
		Message   string
		Hold      string `xml:",omitempty"`
		RequestID string `xml:"RequestId"`
	}{Code: e.Code, Message: e.Sentence(), Hold: e.Hold, RequestID: e.Hold})
}

// awsCBOR serves Smithy's RPC v2: a map of texts, which needs no library (RFC 8949 §3).
func awsCBOR(e *Error) form {
	pairs := []string{"__type", string(e.Code), "message", e.Sentence()}
	if e.Hold != "" {
		pairs = append(pairs, "hold", e.Hold)
	}
	b := []byte{5<<5 | byte(len(pairs)/2)} //nolint:gosec // two or three pairs
	for _, s := range pairs {
		s = s[:min(len(s), 1<<16-1)]
		b = append(append(b, 3<<5|25, byte(len(s)>>8), byte(len(s)&0xff)), s...) //nolint:gosec // two octets: cut to them above
	}
	return form{"application/cbor", b, http.Header{"Smithy-Protocol": {"rpc-v2-cbor"}}}
}

// awsXML lists the services that speak XML by method and path.
var awsXML = []string{"route53", "cloudfront", "s3-control"}

// awsProtocol reads which protocol the caller's SDK speaks. A wrong guess costs the caller the sentence, no more.
func awsProtocol(r Request) string {
	labels := strings.Split(r.Host, ".")
	is := func(service string) bool { return slices.Contains(labels, service) }
	switch {
	case is("scim"):
		return SCIM
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor":
		return AWSCBOR
	case r.Header.Get("X-Amz-Target") != "":
		return AWSJSON
	case is("s3"):
		return AWSS3
	case slices.ContainsFunc(awsXML, is):
		return AWSQuery
	case r.isForm() || r.hasAction():
		if is("ec2") {
			return AWSEC2
		}
		return AWSQuery
	default:
		return ""
	}
}

// hasAction reports whether the URL names an operation, as a presigned call of the query protocol does.
func (r Request) hasAction() bool {
	_, query, _ := strings.Cut(r.Target, "?")
	values, err := url.ParseQuery(query)
	return err == nil && values.Has("Action")
}
