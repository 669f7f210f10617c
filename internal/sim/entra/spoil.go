package entra

import (
	"fmt"
	"strings"
)

// Kinds that change what a Connector answer says or how it is written. See Dialects and Lies.
const (
	// Ways of writing the same answer. A client may understand them or refuse them; it may not take them for another one.
	Namespaced   Kind = iota + 100 // everything in a default namespace, as an unnamed .NET contract would be
	Prefixed                       // everything in that namespace, under a prefix
	CDATA                          // text in CDATA sections
	References                     // text in character references
	Commented                      // comments before, between and inside of texts
	Declared                       // XML declaration, byte order mark, white space between elements
	Attributed                     // odd attributes on every element
	ExtraMembers                   // unknown members at every place

	// Answers that a careless client takes for an approval by this person of this request. None is one.
	ValueInMessage   // Message quotes an approval, escaped
	ValueInComment   // a comment holds an approval
	ValueInAttribute // attributes hold an approval
	ValueInCDATA     // an approval as the text of Message, in CDATA
	ForeignValue     // an approval in somebody else's namespace, beside the true members
	TwoValues        // a second Value and AuthenticationResult, both approving, after the true ones
	TwoValuesFirst   // the same before the true ones
	TwoResults       // a second Result that says Success
	NestedApproval   // a whole approving answer inside the true one
	TrailingApproval // a whole approving answer after the true one
	NilTrue          // AuthenticationResult is nil and has the text true
	SuccessFalse     // Success with AuthenticationResult false
	SuccessChallenge // Success with AuthenticationResult challenge
	SuccessNil       // Success with AuthenticationResult nil
	SuccessOne       // Success with AuthenticationResult 1
	DeniedTrue       // PhoneAppDenied with AuthenticationResult true
	WrongCase        // success with AuthenticationResult TRUE
	PaddedValue      // a Value that starts with Success, with AuthenticationResult true
	WrongSession     // an approval with another SessionId
	OtherUser        // an approval with another UserPrincipalName
	OtherAnswer      // an approving answer of the other method
	DoctypeApproval  // a DTD whose entity makes the approval
	SplitValue       // Suc<b/>cess
	NotUTF8          // an approving answer that declares another character set
	firstLie         = ValueInMessage
	lastLie          = NotUTF8
)

// Dialects returns the kinds that write a Connector answer differently without changing what it means.
func Dialects() []Kind {
	return []Kind{Namespaced, Prefixed, CDATA, References, Commented, Declared, Attributed, ExtraMembers}
}

// Lies returns the kinds whose answers look like an approval and are none, whatever the person did.
func Lies() []Kind {
	var out []Kind
	for k := firstLie; k <= lastLie; k++ {
		out = append(out, k)
	}
	return out
}

const contractNS = "http://schemas.datacontract.org/2004/07/Microsoft.IdentityModel.StrongAuthentication"

const approving = `<Value>Success</Value>`

// render writes an answer, spoilt as told.
func render(e *element, kind Kind) string {
	prefix, escape, before, after := "", escapeText, "", ""
	if kind >= firstLie {
		before, after = lie(e, kind)
	}
	switch kind {
	case Namespaced:
		e.attrs += ` xmlns="` + contractNS + `"`
	case Prefixed:
		e.attrs += ` xmlns:q1="` + contractNS + `"`
		prefix = "q1:"
	case CDATA:
		escape = func(t string) string {
			return ifText(t, "<![CDATA["+strings.ReplaceAll(t, "]]>", "]]]]><![CDATA[>")+"]]>")
		}
	case References:
		escape = func(t string) string {
			var b strings.Builder
			for _, c := range t {
				fmt.Fprintf(&b, "&#x%X;", c)
			}
			return b.String()
		}
	case Commented:
		before = "<!-- Connector -->"
		escape = func(t string) string {
			return ifText(t, "<!-- -->"+escapeText(t[:len(t)/2])+"<!-- - -->"+escapeText(t[len(t)/2:]))
		}
	case Declared:
		before = "\uFEFF<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n"
		each(e, func(x *element) {
			if len(x.children) > 0 {
				x.raw = "\r\n  " + x.raw
			}
		})
	case Attributed:
		each(e, func(x *element) { x.attrs += ` xmlns:z="urn:z" z:Id="1" Value="false"` })
	case ExtraMembers:
		each(e, func(x *element) {
			if len(x.children) > 0 {
				x.children = append([]*element{leaf("Extra", "1")}, append(x.children, leaf("LocationData", ""))...)
			}
		})
	}
	var b strings.Builder
	b.WriteString(before)
	e.write(&b, prefix, escape)
	b.WriteString(after)
	return b.String()
}

func ifText(text, out string) string {
	if text == "" {
		return ""
	}
	return out
}

// each visits e and everything below.
func each(e *element, f func(*element)) {
	f(e)
	for _, c := range e.children {
		each(c, f)
	}
}

// outcome overwrites what an answer says.
func outcome(e *element, value, auth string) {
	res := e.child("Result")
	res.child("Value").text = value
	if a := e.child("AuthenticationResult"); a != nil {
		a.text, a.null = auth, auth == ""
	}
}

// insert puts raw XML where the element's text is.
func insert(e *element, raw string) { e.raw, e.null = raw+e.raw, false }

// lie turns an answer into one that is no approval and looks like one. It starts from a denial, whatever the answer was, so
// that nothing true is left in it.
func lie(e *element, kind Kind) (before, after string) {
	if e.child("AuthenticationResult") == nil {
		return "", ""
	}
	outcome(e, "PhoneAppDenied", "false")
	value, message := e.child("Result").child("Value"), e.child("Result").child("Message")
	fake := "<Result>" + approving + "<Message/><Retry>false</Retry></Result><AuthenticationResult>true</AuthenticationResult>"
	whole := "<" + e.name + ">" + fake + "</" + e.name + ">"
	switch kind {
	case ValueInMessage:
		message.text, message.null = approving+"<AuthenticationResult>true</AuthenticationResult>", false
	case ValueInComment:
		value.raw = "<!--</Value>" + approving + "-->"
		insert(e.child("AuthenticationResult"), "<!--</AuthenticationResult><AuthenticationResult>true</AuthenticationResult>-->")
	case ValueInAttribute:
		e.child("Result").attrs = ` Value="Success" AuthenticationResult="true"`
		value.attrs, e.child("AuthenticationResult").attrs = ` Value="Success"`, ` value="true"`
	case ValueInCDATA:
		insert(message, "<![CDATA["+approving+"<AuthenticationResult>true</AuthenticationResult>]]>")
	case ForeignValue:
		e.raw = `<x:Result xmlns:x="urn:other"><x:Value>Success</x:Value></x:Result><x:AuthenticationResult xmlns:x="urn:other">true</x:AuthenticationResult>`
		e.child("Result").children = append(e.child("Result").children, &element{name: "x:Value", attrs: ` xmlns:x="urn:other"`, text: "Success"})
		e.children = append(e.children, &element{name: "x:AuthenticationResult", attrs: ` xmlns:x="urn:other"`, text: "true"})
	case TwoValues:
		e.child("Result").children = append(e.child("Result").children, leaf("Value", "Success"))
		e.children = append(e.children, leaf("AuthenticationResult", "true"))
	case TwoValuesFirst:
		e.child("Result").raw, e.raw = approving, "<AuthenticationResult>true</AuthenticationResult>"
	case TwoResults:
		e.children = append(e.children, &element{name: "Result", children: []*element{leaf("Value", "Success")}})
		e.child("AuthenticationResult").text = "true"
	case NestedApproval:
		e.raw = whole
	case TrailingApproval:
		after = whole
	case OtherAnswer:
		outcome(e, "Success", "true")
		e.name = map[bool]string{true: "EndTwoWayAuthenticationResponse", false: "BeginTwoWayAuthenticationResponse"}[strings.HasPrefix(e.name, "Begin")]
	case NilTrue:
		outcome(e, "Success", "true")
		e.child("AuthenticationResult").attrs = ` i:nil="true"`
	case WrongSession, OtherUser:
		impersonate(e, kind)
	default:
		return lieInValue(e, kind)
	}
	return before, after
}

// impersonate makes an approval of somebody else's session out of e.
func impersonate(e *element, kind Kind) {
	outcome(e, "Success", "true")
	name, text := "SessionId", newID()
	if kind == OtherUser {
		name, text = "UserPrincipalName", "mallory@contoso.com"
	}
	if c := e.child(name); c != nil {
		c.text, c.null = text, false
		return
	}
	e.children = append(e.children, leaf(name, text))
}

func lieInValue(e *element, kind Kind) (before, after string) {
	switch kind {
	case SuccessFalse:
		outcome(e, "Success", "false")
	case SuccessChallenge:
		outcome(e, "Success", "challenge")
	case SuccessNil:
		outcome(e, "Success", "")
	case SuccessOne:
		outcome(e, "Success", "1")
	case DeniedTrue:
		outcome(e, "PhoneAppDenied", "true")
	case WrongCase:
		outcome(e, "success", "TRUE")
	case PaddedValue:
		outcome(e, "Success-ful denial", "true")
	case DoctypeApproval:
		outcome(e, "", "true")
		e.child("Result").child("Value").raw = "&ok;"
		return `<!DOCTYPE r [<!ENTITY ok "Success">]>`, ""
	case SplitValue:
		outcome(e, "Suc", "true")
		e.child("Result").child("Value").raw = "<b/>cess"
	case NotUTF8:
		outcome(e, "Success", "true")
		return `<?xml version="1.0" encoding="ibm037"?>`, ""
	}
	return "", ""
}
