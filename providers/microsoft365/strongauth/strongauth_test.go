package strongauth_test

import (
	"encoding/xml"
	"strings"
	"testing"

	"countersign/providers"
	"countersign/providers/microsoft365/strongauth"
)

const (
	kim     = "kim@contoso.com"
	session = "5a6f1d6e-2f6c-4c43-9b1a-0f8d1a2b3c4d"
	ending  = `<EndTwoWayAuthenticationResponse xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><Version>1</Version>` +
		`<Result><Value>VALUE</Value><Message i:nil="true"/><Retry>false</Retry><Error i:nil="true"/><Exception i:nil="true"/></Result>` +
		`<AuthenticationResult>RESULT</AuthenticationResult>EXTRA</EndTwoWayAuthenticationResponse>`
)

func end(value, result, extra string) string {
	return strings.NewReplacer("VALUE", value, "RESULT", result, "EXTRA", extra).Replace(ending)
}

// judgeEnd is what becomes of one answer to End, for a session of this person. Pending is Unavailable.
func judgeEnd(raw []byte, session, upn string) (providers.Outcome, error) {
	a, err := strongauth.Parse(raw, strongauth.End)
	if err != nil || a.Pending() {
		return providers.Outcome{}, err
	}
	return strongauth.Judge(a, session, upn), nil
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
		out, err := judgeEnd([]byte(tt.answer), session, kim)
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

// Only what is known to mean that nobody was asked may lead on to another way of asking.
func TestAValueEitherEndsAQuestionOrSaysThatNoneWasPut(t *testing.T) {
	for _, value := range []string{"Success", "AuthenticationPending", "PhoneAppApprovedByMagic", ""} {
		if m, known := strongauth.MeaningOf(value); known || m != (strongauth.Meaning{}) {
			t.Errorf("%q means %+v by itself", value, m)
		}
	}
	for value, want := range map[string]strongauth.Meaning{
		"PhoneAppDenied":          {Verdict: providers.Denied, Answered: true},
		"PhoneAppFraudReported":   {Verdict: providers.Fraud, Answered: true},
		"PhoneAppNoResponse":      {Verdict: providers.TimedOut, Answered: true},
		"UserIsBlocked":           {Verdict: providers.LockedOut, Unasked: true},
		"ProofDataNotFound":       {Verdict: providers.NotEnrolled, Unasked: true, Next: true},
		"AuthenticationThrottled": {Verdict: providers.Unavailable, Unasked: true, Next: true},
		"BecAccessDenied":         {Verdict: providers.Unavailable, Unasked: true},
		"InternalError":           {Verdict: providers.Unavailable},
	} {
		if m, known := strongauth.MeaningOf(value); !known || m != want {
			t.Errorf("%s means %+v, %v; want %+v", value, m, known, want)
		}
	}
}

func TestWhatTheJournalQuotesOfAnAnswerIsAWord(t *testing.T) {
	for want, a := range map[string]strongauth.Answer{
		"Success/true":        {Value: "Success", Result: "true", Session: "a secret"},
		"none/none":           {},
		"unrecognised/true":   {Value: "<b>yes</b>", Result: "true"},
		"Denied/unrecognised": {Value: "Denied", Result: strings.Repeat("a", 61)},
	} {
		if got := a.String(); got != want {
			t.Errorf("%q is quoted, want %q", got, want)
		}
	}
}

// The service reads members in the order of its contract.
func TestARequestHasItsMembersInTheOrderOfTheContract(t *testing.T) {
	begin, err := strongauth.BeginRequest("o'brien&co@contoso.com", "c-1")
	if err != nil {
		t.Fatal(err)
	}
	if want := `<BeginTwoWayAuthenticationRequest><Version>1.0</Version><UserPrincipalName>o&#39;brien&amp;co@contoso.com</UserPrincipalName>` +
		`<Lcid>en-us</Lcid><AuthenticationMethodId>PhoneAppNotification</AuthenticationMethodId>` +
		`<AuthenticationMethodProperties xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays"><a:KeyValueOfstringstring>` +
		`<a:Key>OverrideVoiceOtp</a:Key><a:Value>false</a:Value></a:KeyValueOfstringstring></AuthenticationMethodProperties>` +
		`<ContextId>c-1</ContextId><SyncCall>false</SyncCall><RequireUserMatch>true</RequireUserMatch><CallerName>radius</CallerName>` +
		`<CallerIP>UNKNOWN:</CallerIP></BeginTwoWayAuthenticationRequest>`; string(begin) != want {
		t.Errorf("Begin = %s\nwant    %s", begin, want)
	}
	ending, err := strongauth.EndRequest(session, "c-1", kim)
	if err != nil {
		t.Fatal(err)
	}
	if want := `<EndTwoWayAuthenticationRequest><Version>1.0</Version><SessionId>` + session + `</SessionId><ContextId>c-1</ContextId>` +
		`<AdditionalAuthData></AdditionalAuthData><UserPrincipalName>` + kim + `</UserPrincipalName></EndTwoWayAuthenticationRequest>`; string(ending) != want {
		t.Errorf("End = %s\nwant  %s", ending, want)
	}
}

func FuzzNothingButACompletePositiveAnswerIsAnApproval(f *testing.F) {
	for _, value := range []string{"Success", "PhoneAppDenied", "AuthenticationPending", "Suc<!-- -->cess", "&#83;uccess", "<![CDATA[Success]]>"} {
		for _, result := range []string{"true", "false", "challenge", ""} {
			f.Add([]byte(end(value, result, "<SessionId>"+session+"</SessionId>")))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := judgeEnd(raw, session, kim)
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
