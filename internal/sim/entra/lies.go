package entra

import "strings"

const (
	approvingValue = "<Value>Success</Value>"
	approvingAuth  = "<AuthenticationResult>true</AuthenticationResult>"
	approvingBody  = "<Result>" + approvingValue + "<Message/><Retry>false</Retry></Result>" + approvingAuth
)

// lies turn a denial into an answer that is no approval and looks like one. They return what is written before and after it.
var lies = map[Kind]func(e *element) (before, after string){
	ValueInMessage: func(e *element) (string, string) {
		message := e.child("Result").child("Message")
		message.text, message.null = approvingValue+approvingAuth, false
		return "", ""
	},
	ValueInComment: func(e *element) (string, string) {
		e.child("Result").child("Value").raw = "<!--</Value>" + approvingValue + "-->"
		e.child("AuthenticationResult").raw = "<!--</AuthenticationResult>" + approvingAuth + "-->"
		return "", ""
	},
	ValueInAttribute: func(e *element) (string, string) {
		e.child("Result").attrs = ` Value="Success" AuthenticationResult="true"`
		e.child("Result").child("Value").attrs, e.child("AuthenticationResult").attrs = ` Value="Success"`, ` value="true"`
		return "", ""
	},
	ValueInCDATA: func(e *element) (string, string) {
		message := e.child("Result").child("Message")
		message.raw, message.null = "<![CDATA["+approvingValue+approvingAuth+"]]>", false
		return "", ""
	},
	ForeignValue: func(e *element) (string, string) {
		const ns = ` xmlns:x="urn:other"`
		e.raw = `<x:Result` + ns + `><x:Value>Success</x:Value></x:Result><x:AuthenticationResult` + ns + `>true</x:AuthenticationResult>`
		e.child("Result").children = append(e.child("Result").children, &element{name: "x:Value", attrs: ns, text: "Success"})
		e.children = append(e.children, &element{name: "x:AuthenticationResult", attrs: ns, text: "true"})
		return "", ""
	},
	TwoValues: func(e *element) (string, string) {
		e.child("Result").children = append(e.child("Result").children, leaf("Value", "Success"))
		e.children = append(e.children, leaf("AuthenticationResult", "true"))
		return "", ""
	},
	TwoValuesFirst: func(e *element) (string, string) {
		e.child("Result").raw, e.raw = approvingValue, approvingAuth
		return "", ""
	},
	TwoResults: func(e *element) (string, string) {
		e.children = append(e.children, &element{name: "Result", children: []*element{leaf("Value", "Success")}})
		e.child("AuthenticationResult").text = "true"
		return "", ""
	},
	NestedApproval: func(e *element) (string, string) {
		e.raw = whole(e)
		return "", ""
	},
	TrailingApproval: func(e *element) (string, string) { return "", whole(e) },
	NilTrue: func(e *element) (string, string) {
		outcome(e, "Success", "true")
		e.child("AuthenticationResult").attrs = ` i:nil="true"`
		return "", ""
	},
	SuccessFalse:     says("Success", "false"),
	SuccessChallenge: says("Success", "challenge"),
	SuccessNil:       says("Success", ""),
	SuccessOne:       says("Success", "1"),
	DeniedTrue:       says("PhoneAppDenied", "true"),
	WrongCase:        says("success", "TRUE"),
	PaddedValue:      says("Success-ful denial", "true"),
	WrongSession:     of("SessionId", "0badc0de-0000-4000-8000-00000badc0de"),
	OtherUser:        of("UserPrincipalName", "mallory@contoso.com"),
	OtherAnswer: func(e *element) (string, string) {
		outcome(e, "Success", "true")
		if strings.HasPrefix(e.name, "Begin") {
			e.name = "EndTwoWayAuthenticationResponse"
		} else {
			e.name = "BeginTwoWayAuthenticationResponse"
		}
		return "", ""
	},
	DoctypeApproval: func(e *element) (string, string) {
		outcome(e, "", "true")
		e.child("Result").child("Value").raw = "&ok;"
		return `<!DOCTYPE r [<!ENTITY ok "Success">]>`, ""
	},
	SplitValue: func(e *element) (string, string) {
		outcome(e, "Suc", "true")
		e.child("Result").child("Value").raw = "<b/>cess"
		return "", ""
	},
	NotUTF8: func(e *element) (string, string) {
		outcome(e, "Success", "true")
		return `<?xml version="1.0" encoding="ibm037"?>`, ""
	},
}

// whole is a complete approving answer of e's method.
func whole(e *element) string { return "<" + e.name + ">" + approvingBody + "</" + e.name + ">" }

// outcome overwrites what an answer says.
func outcome(e *element, value, auth string) {
	e.child("Result").child("Value").text = value
	a := e.child("AuthenticationResult")
	a.text, a.null = auth, auth == ""
}

// says is a lie by its two values alone.
func says(value, auth string) func(*element) (string, string) {
	return func(e *element) (string, string) {
		outcome(e, value, auth)
		return "", ""
	}
}

// of is an approval of somebody else's verification.
func of(name, text string) func(*element) (string, string) {
	return func(e *element) (string, string) {
		outcome(e, "Success", "true")
		if c := e.child(name); c != nil {
			c.text, c.null = text, false
		} else {
			e.children = append(e.children, leaf(name, text))
		}
		return "", ""
	}
}
