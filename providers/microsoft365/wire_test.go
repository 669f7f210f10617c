package microsoft365_test

import (
	"encoding/xml"
	"strings"
	"testing"

	"countersign/providers"
	"countersign/providers/microsoft365"
)

const (
	session = "5a6f1d6e-2f6c-4c43-9b1a-0f8d1a2b3c4d"
	ending  = `<EndTwoWayAuthenticationResponse xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><Version>1</Version>` +
		`<Result><Value>VALUE</Value><Message i:nil="true"/><Retry>false</Retry><Error i:nil="true"/><Exception i:nil="true"/></Result>` +
		`<AuthenticationResult>RESULT</AuthenticationResult>EXTRA</EndTwoWayAuthenticationResponse>`
)

func end(value, result, extra string) string {
	return strings.NewReplacer("VALUE", value, "RESULT", result, "EXTRA", extra).Replace(ending)
}

func TestAnAnswerIsReadStrictly(t *testing.T) {
	yes := end("Success", "true", "")
	for _, tt := range []struct {
		name, answer string
		approved     bool
	}{
		{"plain", yes, true},
		{"white space around it", "\r\n" + yes + "\n", true},
		{"a byte order mark", "\ufeff<?xml version=\"1.0\" encoding=\"utf-8\"?>" + yes, true},
		{"our session and user named", end("Success", "true", "<SessionId>"+strings.ToUpper(session)+"</SessionId><UserPrincipalName>KIM@contoso.com</UserPrincipalName>"), true},
		{"unknown members", end("Success", "true", "<Location><Value>x</Value><AuthenticationResult>no</AuthenticationResult></Location>"), true},
		{"a session that is nil", end("Success", "true", `<SessionId i:nil="true"/>`), true},
		{"another session", end("Success", "true", "<SessionId>0badc0de-0000-4000-8000-00000badc0de</SessionId>"), false},
		{"another user", end("Success", "true", "<UserPrincipalName>lee@contoso.com</UserPrincipalName>"), false},
		{"two sessions", end("Success", "true", "<SessionId>"+session+"</SessionId><SessionId>"+session+"</SessionId>"), false},
		{"two results", end("Success", "true", "<Result><Value>Success</Value></Result>"), false},
		{"two answers", yes + yes, false},
		{"two values, one in another namespace", end("Success", "true", `<x:AuthenticationResult xmlns:x="urn:x">true</x:AuthenticationResult>`), false},
		{"another root", strings.ReplaceAll(yes, "EndTwoWay", "BeginTwoWay"), false},
		{"one level down", "<a>" + yes + "</a>", false},
		{"a value in capitals", end("Success", "TRUE", ""), false},
		{"a value of one", end("Success", "1", ""), false},
		{"a comment in a value", end("Suc<!-- -->cess", "true", ""), false},
		{"an element in a value", end("Suc<b/>cess", "true", ""), false},
		{"text beside the root", yes + "x", false},
		{"a declaration in the middle", yes + `<?xml version="1.0"?>`, false},
		{"an instruction", end("Success", "true", "<?php x?>"), false},
		{"a document type", "<!DOCTYPE r [<!ENTITY ok \"Success\">]>" + end("&ok;", "true", ""), false},
		{"a document type that is not used", "<!DOCTYPE EndTwoWayAuthenticationResponse>" + yes, false},
		{"an entity of HTML's", end("Success&nbsp;", "true", ""), false},
		{"another character set", `<?xml version="1.0" encoding="utf-16"?>` + yes, false},
		{"nil, with text", strings.Replace(yes, "<AuthenticationResult>", `<AuthenticationResult i:nil="true">`, 1), false},
		{"not closed", strings.TrimSuffix(yes, "</EndTwoWayAuthenticationResponse>"), false},
		{"too deep", end("Success", "true", strings.Repeat("<a>", 50)+strings.Repeat("</a>", 50)), false},
		{"too large", end("Success", "true", strings.Repeat(" ", 64<<10)), false},
		{"a value too large", end(strings.Repeat(" ", 5<<10)+"Success", "true", ""), false},
		{"nothing", "", false},
	} {
		out, err := microsoft365.JudgeEnd([]byte(tt.answer), session, kim)
		if approved := err == nil && out.Verdict == providers.Approved; approved != tt.approved {
			t.Errorf("%s: outcome = %+v, %v; want approved %v", tt.name, out, err, tt.approved)
		}
	}
}

// complete is what a complete positive answer says, read in another way than the package does.
type complete struct {
	XMLName xml.Name `xml:"EndTwoWayAuthenticationResponse"`
	Results []struct {
		Values []string `xml:"Value"`
	} `xml:"Result"`
	Authentication []string `xml:"AuthenticationResult"`
	Sessions       []string `xml:"SessionId"`
	UPNs           []string `xml:"UserPrincipalName"`
}

func one(list []string, want string) bool {
	return len(list) == 1 && strings.TrimSpace(list[0]) == want
}

func none(list []string, but string) bool {
	return len(list) == 0 || len(list) == 1 && (strings.TrimSpace(list[0]) == "" || strings.EqualFold(strings.TrimSpace(list[0]), but))
}

func FuzzNothingButACompletePositiveAnswerIsAnApproval(f *testing.F) {
	for _, value := range []string{"Success", "PhoneAppDenied", "AuthenticationPending", "Suc<!-- -->cess", "&#83;uccess", "<![CDATA[Success]]>"} {
		for _, result := range []string{"true", "false", "challenge", ""} {
			f.Add([]byte(end(value, result, "<SessionId>"+session+"</SessionId>")))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := microsoft365.JudgeEnd(raw, session, kim)
		if err != nil && out.Verdict != providers.Unavailable {
			t.Fatalf("outcome = %+v with error %v", out, err)
		}
		if out.Verdict != providers.Approved {
			if len(out.AMR) > 0 {
				t.Fatalf("AMR = %v without an approval", out.AMR)
			}
			return
		}
		var c complete
		if err := xml.Unmarshal(raw, &c); err != nil {
			t.Fatalf("an approval was read from what is no XML: %v", err)
		}
		if len(c.Results) != 1 || !one(c.Results[0].Values, "Success") || !one(c.Authentication, "true") || !none(c.Sessions, session) || !none(c.UPNs, kim) {
			t.Fatalf("an approval was read from %+v", c)
		}
	})
}
