package strongauth

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// ErrMalformed says that what was read is not an answer of the Connector's. It quotes none of it.
var ErrMalformed = errors.New("not an answer of the Connector's")

// MaxAnswer is the size in bytes above which Parse takes nothing.
const MaxAnswer = 64 << 10

// Answer is what Begin or End said. An element that is absent, or nil, is "".
type Answer struct {
	Value    string // Result/Value
	Result   string // AuthenticationResult: true, false or challenge
	Session  string
	UPN      string
	Affinity string
	Entropy  string // ValidEntropyNumber
}

const (
	maxDepth = 16
	maxText  = 4 << 10 // of an element that is read
	nilSpace = "http://www.w3.org/2001/XMLSchema-instance"
)

// Parse reads one answer to Begin or to End. Namespaces are overlooked, since the service's differ; places and numbers are not: each
// element that is read stands where the contract has it, once, with nothing in it but text. There is no document type and
// no entity but XML's own.
func Parse(raw []byte, call string) (Answer, error) {
	var a Answer
	root := call + "Response"
	if len(raw) > MaxAnswer {
		return Answer{}, ErrMalformed
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // .NET likes to write a byte order mark
	r := reader{dec: xml.NewDecoder(bytes.NewReader(raw)), fields: map[string]*string{
		root + "/Result/Value": &a.Value, root + "/AuthenticationResult": &a.Result, root + "/SessionId": &a.Session,
		root + "/UserPrincipalName": &a.UPN, root + "/AffinityUrl": &a.Affinity, root + "/ValidEntropyNumber": &a.Entropy,
	}, once: map[string]bool{root + "/Result": true}, seen: map[string]bool{}}
	if err := r.document(root); err != nil {
		return Answer{}, ErrMalformed
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
				return ErrMalformed
			}
			return nil
		case err != nil:
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if found || t.Name.Local != root {
				return ErrMalformed
			}
			found = true
			if err := r.element(root, t, 1); err != nil {
				return err
			}
		case xml.CharData:
			if strings.Trim(string(t), " \t\r\n") != "" {
				return ErrMalformed
			}
		case xml.ProcInst:
			if !first || t.Target != "xml" {
				return ErrMalformed
			}
		case xml.Comment:
		default: // a document type
			return ErrMalformed
		}
	}
}

// element reads up to the end of an element whose start was read.
func (r *reader) element(path string, start xml.StartElement, depth int) error {
	field := r.fields[path]
	if depth > maxDepth || (field != nil || r.once[path]) && r.seen[path] {
		return ErrMalformed
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
				return ErrMalformed
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
				return ErrMalformed
			}
			if field != nil {
				text.Write(t)
			}
		case xml.Comment:
			if field != nil { // a comment in a value is how two readers come to see two values
				return ErrMalformed
			}
		default:
			return ErrMalformed
		}
	}
}

func fill(field *string, start xml.StartElement, text string) error {
	*field = strings.Trim(text, " \t\r\n")
	for _, a := range start.Attr {
		if a.Name.Local == "nil" && (a.Name.Space == nilSpace || a.Name.Space == "i") && (a.Value == "true" || a.Value == "1") && *field != "" {
			return ErrMalformed
		}
	}
	return nil
}
