package entra

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const instanceNS = "http://www.w3.org/2001/XMLSchema-instance"

// The members of each request, in the order of their DataContract (C: the order of an AD FS adapter's own contracts; the
// last three of Begin are those of the RADIUS callers, whose place among the others is a guess).
var (
	beginMembers = []string{
		"Version", "UserPrincipalName", "TenantId", "Lcid", "AuthenticationMethodId", "AuthenticationMethodProperties",
		"AuthenticationPurpose", "ContextId", "OtpRetryCount", "SyncCall", "ReplicationScope", "ObjectId", "CompanyName",
		"RequireUserMatch", "CallerName", "CallerIP",
	}
	endMembers     = []string{"Version", "SessionId", "ContextId", "AdditionalAuthData", "UserPrincipalName"}
	methodsMembers = []string{"Version", "UserPrincipalName", "ContextId"}
)

var errContract = errors.New("the body does not deserialise")

// readContract reads a request as .NET's DataContractSerializer does: the root must be the contract's, in no namespace;
// a member that comes after one of a later order, comes twice, is unknown or is in another namespace is passed over, and
// so has its default. Members of a dictionary are not looked into, beyond being well-formed.
func readContract(body []byte, root string, members []string) (map[string]string, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	start, err := firstElement(d)
	if err != nil {
		return nil, err
	}
	if start.Name.Local != root || start.Name.Space != "" {
		return nil, fmt.Errorf("%w: expecting element '%s' from namespace ''", errContract, root)
	}
	got, last := map[string]string{}, -1
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errContract, err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			i := memberIndex(members, last, t.Name)
			if i < 0 || t.Name.Local == "AuthenticationMethodProperties" {
				if err := d.Skip(); err != nil {
					return nil, fmt.Errorf("%w: %w", errContract, err)
				}
				last = max(last, i)
				continue
			}
			last = i
			text, err := simpleContent(d)
			if err != nil {
				return nil, err
			}
			if !isNil(t) {
				got[t.Name.Local] = text
			}
		case xml.EndElement:
			return got, onlyMiscellany(d)
		}
	}
}

func firstElement(d *xml.Decoder) (xml.StartElement, error) {
	for {
		tok, err := d.Token()
		if err != nil {
			return xml.StartElement{}, fmt.Errorf("%w: %w", errContract, err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			return t, nil
		case xml.Directive: // a DTD is prohibited
			return xml.StartElement{}, errContract
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return xml.StartElement{}, errContract
			}
		}
	}
}

func memberIndex(members []string, last int, name xml.Name) int {
	if name.Space != "" {
		return -1
	}
	for i := last + 1; i < len(members); i++ {
		if members[i] == name.Local {
			return i
		}
	}
	return -1
}

func simpleContent(d *xml.Decoder) (string, error) {
	var b strings.Builder
	for {
		tok, err := d.Token()
		if err != nil {
			return "", fmt.Errorf("%w: %w", errContract, err)
		}
		switch t := tok.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.StartElement:
			return "", fmt.Errorf("%w: element '%s' where text is expected", errContract, t.Name.Local)
		case xml.EndElement:
			return b.String(), nil
		}
	}
}

func isNil(t xml.StartElement) bool {
	for _, a := range t.Attr {
		if a.Name.Space == instanceNS && a.Name.Local == "nil" {
			return a.Value == "true" || a.Value == "1"
		}
	}
	return false
}

func onlyMiscellany(d *xml.Decoder) error {
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errContract, err)
		}
		switch t := tok.(type) {
		case xml.Comment, xml.ProcInst:
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return errContract
			}
		default:
			return errContract
		}
	}
}

// element is one element of an answer.
type element struct {
	name     string
	attrs    string // as written, with its leading space
	text     string
	raw      string // written as it is, after text
	null     bool   // i:nil
	children []*element
}

func leaf(name, text string) *element { return &element{name: name, text: text} }

// nullable is a leaf that is nil where there is no text.
func nullable(name, text string) *element {
	return &element{name: name, text: text, null: text == ""}
}

func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (e *element) write(b *strings.Builder, prefix string, escape func(string) string) {
	b.WriteString("<" + prefix + e.name + e.attrs)
	if e.null {
		b.WriteString(` i:nil="true"/>`)
		return
	}
	b.WriteString(">" + escape(e.text) + e.raw)
	for _, c := range e.children {
		c.write(b, prefix, escape)
	}
	b.WriteString("</" + prefix + e.name + ">")
}

func escapeText(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}
