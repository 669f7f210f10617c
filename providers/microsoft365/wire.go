package microsoft365

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// beginRequest asks for a push. The service reads elements in the order of its contract and overlooks what stands elsewhere.
type beginRequest struct {
	XMLName       xml.Name `xml:"BeginTwoWayAuthenticationRequest"`
	Version       string
	UPN           string `xml:"UserPrincipalName"`
	Lcid          string
	Method        string     `xml:"AuthenticationMethodId"`
	Properties    properties `xml:"AuthenticationMethodProperties"`
	ContextID     string     `xml:"ContextId"`
	Sync          bool       `xml:"SyncCall"`
	RequireUser   bool       `xml:"RequireUserMatch"`
	CallerName    string
	CallerAddress string `xml:"CallerIP"`
}

type properties struct {
	Arrays string     `xml:"xmlns:a,attr"`
	Items  []property `xml:"a:KeyValueOfstringstring"`
}

type property struct {
	Key   string `xml:"a:Key"`
	Value string `xml:"a:Value"`
}

// endRequest asks how a session ended.
type endRequest struct {
	XMLName   xml.Name `xml:"EndTwoWayAuthenticationRequest"`
	Version   string
	SessionID string `xml:"SessionId"`
	ContextID string `xml:"ContextId"`
	Data      string `xml:"AdditionalAuthData"`
	UPN       string `xml:"UserPrincipalName"`
}

func newBegin(upn, contextID string) beginRequest {
	return beginRequest{
		Version: "1.0", UPN: upn, Lcid: "en-us", Method: "PhoneAppNotification",
		Properties: properties{
			Arrays: "http://schemas.microsoft.com/2003/10/Serialization/Arrays",
			Items:  []property{{"OverrideVoiceOtp", "false"}},
		},
		ContextID: contextID, RequireUser: true, CallerName: "radius", CallerAddress: "UNKNOWN:",
	}
}

// answer is what Begin or End said. An element that is absent, or nil, is "".
type answer struct {
	Value    string // Result/Value
	Result   string // AuthenticationResult: true, false or challenge
	Session  string
	UPN      string
	Affinity string
	Entropy  string // ValidEntropyNumber
}

const (
	maxXML   = 64 << 10
	maxDepth = 16
	maxText  = 4 << 10 // of an element that is read
	nilSpace = "http://www.w3.org/2001/XMLSchema-instance"
)

// parseAnswer reads one answer whose root has the given name. Namespaces are overlooked, since the service's differ; places
// and numbers are not: each element that is read stands where the contract has it, once, with nothing in it but text. There
// is no document type and no entity but XML's own.
func parseAnswer(raw []byte, root string) (answer, error) {
	var a answer
	if len(raw) > maxXML {
		return answer{}, errMalformed
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // .NET likes to write a byte order mark
	r := reader{dec: xml.NewDecoder(bytes.NewReader(raw)), fields: map[string]*string{
		root + "/Result/Value": &a.Value, root + "/AuthenticationResult": &a.Result, root + "/SessionId": &a.Session,
		root + "/UserPrincipalName": &a.UPN, root + "/AffinityUrl": &a.Affinity, root + "/ValidEntropyNumber": &a.Entropy,
	}, once: map[string]bool{root + "/Result": true}, seen: map[string]bool{}}
	if err := r.document(root); err != nil {
		return answer{}, errMalformed
	}
	return a, nil
}

type reader struct {
	dec    *xml.Decoder
	fields map[string]*string
	once   map[string]bool // places that may be there once besides the fields
	seen   map[string]bool
}

// document reads everything there is: one root, and nothing else that means anything.
func (r *reader) document(root string) error {
	found := false
	for first := true; ; first = false {
		t, err := r.dec.Token()
		switch {
		case errors.Is(err, io.EOF):
			if !found {
				return errMalformed
			}
			return nil
		case err != nil:
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if found || t.Name.Local != root {
				return errMalformed
			}
			found = true
			if err := r.element(root, t, 1); err != nil {
				return err
			}
		case xml.CharData:
			if strings.Trim(string(t), " \t\r\n") != "" {
				return errMalformed
			}
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return errMalformed
			}
		case xml.Comment:
		default: // a document type
			return errMalformed
		}
	}
}

// element reads up to the end of an element whose start was read.
func (r *reader) element(path string, start xml.StartElement, depth int) error {
	field := r.fields[path]
	if depth > maxDepth || (field != nil || r.once[path]) && r.seen[path] {
		return errMalformed
	}
	r.seen[path] = true
	var text strings.Builder
	for {
		t, err := r.dec.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if field != nil {
				return errMalformed
			}
			if err := r.element(path+"/"+t.Name.Local, t, depth+1); err != nil {
				return err
			}
		case xml.EndElement:
			if field == nil {
				return nil
			}
			return fill(field, start, text.String())
		case xml.CharData:
			if field != nil && text.Len()+len(t) > maxText {
				return errMalformed
			}
			if field != nil {
				text.Write(t)
			}
		case xml.Comment:
			if field != nil { // a comment in a value is how two readers come to see two values
				return errMalformed
			}
		default:
			return errMalformed
		}
	}
}

func fill(field *string, start xml.StartElement, text string) error {
	*field = strings.Trim(text, " \t\r\n")
	for _, a := range start.Attr {
		if a.Name.Local == "nil" && (a.Name.Space == nilSpace || a.Name.Space == "i") && (a.Value == "true" || a.Value == "1") && *field != "" {
			return errMalformed
		}
	}
	return nil
}
