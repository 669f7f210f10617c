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

// render writes an answer, spoilt as told.
func render(e *element, kind Kind) string {
	prefix, escape, before, after := "", escapeText, "", ""
	if f := lies[kind]; f != nil && e.child("AuthenticationResult") != nil {
		outcome(e, "PhoneAppDenied", "false") // whatever the answer was, so that nothing true is left in it
		before, after = f(e)
	}
	if dialect := dialects[kind]; dialect != nil {
		prefix, before, escape = dialect(e)
	}
	var b strings.Builder
	b.WriteString(before)
	e.write(&b, prefix, escape)
	b.WriteString(after)
	return b.String()
}

// dialects change how an answer is written: its tags' prefix, what comes first, and how texts are escaped.
var dialects = map[Kind]func(e *element) (prefix, before string, escape func(string) string){
	Namespaced: func(e *element) (string, string, func(string) string) {
		e.attrs += ` xmlns="` + contractNS + `"`
		return "", "", escapeText
	},
	Prefixed: func(e *element) (string, string, func(string) string) {
		e.attrs += ` xmlns:q1="` + contractNS + `"`
		return "q1:", "", escapeText
	},
	CDATA: func(*element) (string, string, func(string) string) {
		return "", "", func(t string) string {
			return ifText(t, "<![CDATA["+strings.ReplaceAll(t, "]]>", "]]]]><![CDATA[>")+"]]>")
		}
	},
	References: func(*element) (string, string, func(string) string) {
		return "", "", func(t string) string {
			var b strings.Builder
			for _, c := range t {
				fmt.Fprintf(&b, "&#x%X;", c)
			}
			return b.String()
		}
	},
	Commented: func(*element) (string, string, func(string) string) {
		return "", "<!-- Connector -->", func(t string) string {
			return ifText(t, "<!-- -->"+escapeText(t[:len(t)/2])+"<!-- - -->"+escapeText(t[len(t)/2:]))
		}
	},
	Declared: func(e *element) (string, string, func(string) string) {
		each(e, func(x *element) {
			if len(x.children) > 0 {
				x.raw = "\r\n  " + x.raw
			}
		})
		return "", "\uFEFF<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n", escapeText
	},
	Attributed: func(e *element) (string, string, func(string) string) {
		each(e, func(x *element) { x.attrs += ` xmlns:z="urn:z" z:Id="1" Value="false"` })
		return "", "", escapeText
	},
	ExtraMembers: func(e *element) (string, string, func(string) string) {
		each(e, func(x *element) {
			if len(x.children) > 0 {
				x.children = append([]*element{leaf("Extra", "1")}, append(x.children, leaf("LocationData", ""))...)
			}
		})
		return "", "", escapeText
	},
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
