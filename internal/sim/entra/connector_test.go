package entra_test

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/entra"
)

const kim = "kim@contoso.com"

func TestAPushIsPendingUntilThePersonAnswers(t *testing.T) {
	for value, answerIt := range map[string]func(*world) error{
		"Success":               func(w *world) error { return w.Approve(kim) },
		"PhoneAppDenied":        func(w *world) error { return w.Deny(kim) },
		"PhoneAppFraudReported": func(w *world) error { return w.ReportFraud(kim) },
		"PhoneAppNoResponse":    func(w *world) error { return w.Ignore(kim) },
	} {
		w := start(t, entra.Options{})
		token := w.connectorToken(t)
		b := w.call(t, token, "/BeginTwoWayAuthentication", begin(kim, entra.PhoneAppNotification, false))
		if b.Result.Value != "Success" || b.auth() != "false" || b.SessionID == "" || b.UPN != kim || !strings.HasSuffix(b.Affinity, "/Connector/EndTwoWayAuthentication") {
			t.Fatalf("Begin = %+v, want a session that has started", b)
		}
		if e := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", kim)); e.Result.Value != "AuthenticationPending" || e.auth() != "nil" || !e.Result.Retry {
			t.Fatalf("End = %+v, want it pending", e)
		}
		if err := answerIt(w); err != nil {
			t.Fatal(err)
		}
		want := "false"
		if value == "Success" {
			want = "true"
		}
		if e := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", kim)); e.Result.Value != value || e.auth() != want {
			t.Errorf("End = %+v, want %s and %s", e, value, want)
		}
		if got := w.PushesTo(kim); len(got) != 1 || got[0].ContextID != ctxID || got[0].Value != value || got[0].CallerName != "radius" {
			t.Errorf("pushes = %+v, want the one", got)
		}
		if err := w.Approve(kim); err == nil {
			t.Error("a settled prompt took another answer")
		}
	}
}

func TestPromptsAndSessionsEndByTheClock(t *testing.T) {
	now := time.Now()
	w := start(t, entra.Options{Now: func() time.Time { return now }})
	token := w.connectorToken(t)
	b := w.call(t, token, "BeginTwoWayAuthentication", begin(kim, entra.PhoneAppNotification, false))
	for _, step := range []struct {
		at   time.Duration
		want string
	}{{59 * time.Second, "AuthenticationPending"}, {60 * time.Second, "PhoneAppNoResponse"}, {179 * time.Second, "PhoneAppNoResponse"}, {180 * time.Second, "InvalidSession"}} {
		was := now
		now = now.Add(step.at)
		if e := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", kim)); e.Result.Value != step.want {
			t.Errorf("after %v: %s, want %s", step.at, e.Result.Value, step.want)
		}
		now = was
	}
	for late, want := range map[bool]string{false: "PhoneAppNoResponse", true: "Success"} {
		if err := w.Script(kim, entra.Script{Value: "Success", After: 90 * time.Second, Late: late}); err != nil {
			t.Fatal(err)
		}
		id := w.call(t, token, "BeginTwoWayAuthentication", begin(kim, "", false)).SessionID
		was := now
		now = now.Add(100 * time.Second)
		if e := w.call(t, token, "EndTwoWayAuthentication", end(id, "", kim)); e.Result.Value != want {
			t.Errorf("an approval after the prompt's life, late %v: %s, want %s", late, e.Result.Value, want)
		}
		now = was
	}
	if e := w.call(t, token, "EndTwoWayAuthentication", end("0d3f0d2e-0000-4b8e-9a0e-7ab4c1c7e001", "", kim)); e.Result.Value != "InvalidSession" {
		t.Errorf("unknown session: %s", e.Result.Value)
	}
	if e := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", "lee@contoso.com")); e.Result.Value != "InvalidParameter" {
		t.Errorf("another person's poll: %s", e.Result.Value)
	}
}

func TestASynchronousBeginReturnsTheAnswer(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	got := make(chan answer)
	go func() {
		got <- w.call(t, token, "BeginTwoWayAuthentication", begin(kim, entra.PhoneAppNotification, true))
	}()
	if _, err := w.AwaitPush(t.Context(), kim, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.Approve(kim); err != nil {
		t.Fatal(err)
	}
	if b := <-got; b.Result.Value != "Success" || b.auth() != "true" {
		t.Errorf("Begin = %+v, want the approval", b)
	}
}

func TestPeopleWithoutAPushAreToldApart(t *testing.T) {
	w := start(t, entra.Options{People: []entra.Person{
		{UPN: "none@contoso.com", Methods: []string{}},
		{UPN: "nodefault@contoso.com", Default: "none"},
		{UPN: "sms@contoso.com", Methods: []string{entra.OneWaySMS}},
		{UPN: "off@contoso.com", Disabled: true},
		{UPN: "o'hara&co@contoso.com", Script: entra.Refuses("AuthenticationThrottled")},
	}})
	token := w.connectorToken(t)
	for _, c := range []struct{ upn, method, value, auth string }{
		{"none@contoso.com", "", "ProofDataNotFound", "false"},
		{"nodefault@contoso.com", "", "NoDefaultAuthenticationMethodIsConfigured", "false"},
		{"sms@contoso.com", "", "Success", "challenge"},
		{"sms@contoso.com", entra.PhoneAppNotification, "AuthenticationMethodNotConfigured", "false"},
		{"off@contoso.com", "", "AccessDenied", "false"},
		{"nobody@contoso.com", "", "UserNotFound", "false"},
		{"o&#39;hara&amp;co@contoso.com", "", "AuthenticationThrottled", "nil"},
	} {
		if b := w.call(t, token, "BeginTwoWayAuthentication", begin(c.upn, c.method, false)); b.Result.Value != c.value || b.auth() != c.auth {
			t.Errorf("%s %q: %s %s, want %s %s", c.upn, c.method, b.Result.Value, b.auth(), c.value, c.auth)
		}
	}
	if n := len(w.Pushes()); n != 0 {
		t.Errorf("%d prompts were shown, want none", n)
	}
	b := w.call(t, token, "BeginTwoWayAuthentication", begin("sms@contoso.com", "", false))
	if e := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "000000", "")); e.Result.Value != "OathCodeIncorrect" {
		t.Errorf("wrong code: %s", e.Result.Value)
	}
	if e := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, entra.Code, "")); e.Result.Value != "Success" || e.auth() != "true" {
		t.Errorf("right code: %s", e.Result.Value)
	}
}

func TestAvailableMethodsAreListed(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	m := w.call(t, token, "GetAvailableAuthenticationMethods", `<GetAvailableAuthenticationMethodsRequest><Version>1.0</Version><UserPrincipalName>`+kim+
		`</UserPrincipalName><ContextId>`+ctxID+`</ContextId></GetAvailableAuthenticationMethodsRequest>`)
	if !slices.Equal(m.MethodIDs, []string{entra.PhoneAppNotification, entra.PhoneAppOTP}) || !slices.Equal(m.DefaultFlags, []bool{true, false}) {
		t.Errorf("methods = %+v", m)
	}
}

func TestRequestsAreReadAsDataContractsAre(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	good := begin(kim, entra.PhoneAppNotification, false)
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	late := strings.Replace(good, "<UserPrincipalName>"+kim+"</UserPrincipalName>", "", 1)
	late = strings.Replace(late, "</BeginTwo", "<UserPrincipalName>"+kim+"</UserPrincipalName></BeginTwo", 1)
	lateMethod := strings.Replace(good, "<AuthenticationMethodId>PhoneAppNotification</AuthenticationMethodId>", "", 1)
	lateMethod = strings.Replace(lateMethod, "</BeginTwo", "<AuthenticationMethodId>OneWaySMS</AuthenticationMethodId></BeginTwo", 1)
	for name, c := range map[string]struct {
		body   string
		status int
		value  string
	}{
		"good":                    {good, 200, "Success"},
		"declared":                {`<?xml version="1.0" encoding="utf-8"?>` + good, 200, "Success"},
		"late member passed over": {late, 200, "InvalidParameter"},
		"late method is default":  {lateMethod, 200, "Success"},
		"member in a namespace":   {swap("<UserPrincipalName>", `<UserPrincipalName xmlns="urn:x">`), 200, "InvalidParameter"},
		"nil member":              {swap("<UserPrincipalName>"+kim+"</", `<UserPrincipalName xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"></`), 200, "InvalidParameter"},
		"no version":              {swap("<Version>1.0</Version>", ""), 200, "VersionNotSupported"},
		"other version":           {swap("1.0", "9"), 200, "VersionNotSupported"},
		"context is no GUID":      {swap(ctxID, "42"), 200, "InvalidParameter"},
		"root in a namespace":     {swap("<BeginTwoWayAuthenticationRequest>", `<BeginTwoWayAuthenticationRequest xmlns="urn:x">`), 400, ""},
		"other root":              {end("x", "", kim), 400, ""},
		"no boolean":              {swap("<SyncCall>false", "<SyncCall>False"), 400, ""},
		"markup in a text":        {swap(kim, kim+"<b/>"), 400, ""},
		"raw ampersand":           {swap(kim, "a&b@contoso.com"), 400, ""},
		"a DTD":                   {`<!DOCTYPE x [<!ENTITY y "z">]>` + good, 400, ""},
		"two roots":               {good + good, 400, ""},
		"half":                    {good[:len(good)/2], 400, ""},
	} {
		r := w.post(t, token, "BeginTwoWayAuthentication", c.body)
		if r.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, r.status, c.status, r.body)
			continue
		}
		if c.status == 200 {
			if a := parse(t, r); a.Result.Value != c.value {
				t.Errorf("%s: %s, want %s", name, a.Result.Value, c.value)
			}
		}
	}
}

func TestTheConnectorTakesItsOwnTokensOnly(t *testing.T) {
	w := start(t, entra.Options{})
	good := entra.AccessToken{ClientID: entra.MFAClientID, Audience: entra.ConnectorResource}
	for name, c := range map[string]struct {
		edit   func(*entra.AccessToken)
		status int
	}{
		"good":           {func(*entra.AccessToken) {}, 200},
		"other app":      {func(a *entra.AccessToken) { a.ClientID = entra.DefaultClientID }, 401},
		"other resource": {func(a *entra.AccessToken) { a.Audience = entra.GraphResource }, 401},
		"other tenant":   {func(a *entra.AccessToken) { a.TenantID = "99999999-0000-4000-8000-000000000009" }, 401},
		"expired":        {func(a *entra.AccessToken) { a.Expires = -time.Second }, 401},
		"other key":      {func(a *entra.AccessToken) { a.WrongKey = true }, 401},
	} {
		a := good
		c.edit(&a)
		token, err := w.Mint(a)
		if err != nil {
			t.Fatal(err)
		}
		if r := w.post(t, token, "BeginTwoWayAuthentication", begin(kim, "", false)); r.status != c.status {
			t.Errorf("%s: %d, want %d", name, r.status, c.status)
		}
	}
	token := w.connectorToken(t)
	at := w.url + "/StrongAuthenticationService.svc/Connector/BeginTwoWayAuthentication"
	for kind, want := range map[string]int{"application/xml": 200, "text/xml; charset=utf-8": 200, "application/json": 400, "": 400} {
		r := w.do(t, "POST", at, []byte(begin(kim, "", false)), "Authorization", "Bearer "+token, "Content-Type", kind)
		if r.status != want {
			t.Errorf("%q: %d, want %d", kind, r.status, want)
		}
	}
	if r := w.do(t, "GET", at, nil, "Authorization", "Bearer "+token); r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", r.status)
	}
}

func TestEveryValueCanBeScripted(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	if n := len(entra.Values()); n < 30 {
		t.Fatalf("%d values, want those of the table", n)
	}
	for _, value := range entra.Values() {
		if err := w.AddPerson(entra.Person{UPN: kim, Script: entra.Script{Value: value, Pending: 1}}); err != nil {
			t.Fatal(err)
		}
		b := w.call(t, token, "BeginTwoWayAuthentication", begin(kim, "", false))
		first := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", kim))
		second := w.call(t, token, "EndTwoWayAuthentication", end(b.SessionID, "", kim))
		if first.Result.Value != "AuthenticationPending" || second.Result.Value != value {
			t.Errorf("polls = %s, %s, want one pending and %s", first.Result.Value, second.Result.Value, value)
		}
	}
}

func TestDialectsSayTheSameAndLiesAreNoApproval(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	settle := func(value string) string {
		if err := w.AddPerson(entra.Person{UPN: kim, Script: entra.Script{Value: value}}); err != nil {
			t.Fatal(err)
		}
		return w.call(t, token, "BeginTwoWayAuthentication", begin(kim, "", false)).SessionID
	}
	for _, kind := range entra.Dialects() {
		id := settle("PhoneAppDenied")
		w.ClearFaults()
		w.Inject(entra.Fault{Host: entra.Connector, Path: "/EndTwoWayAuthentication", Kind: kind})
		r := w.post(t, token, "EndTwoWayAuthentication", end(id, "", kim))
		a := parse(t, r) // Go's decoder does not look at namespaces unless told
		if a.Result.Value != "PhoneAppDenied" || a.auth() != "false" {
			t.Errorf("dialect %d: %s %s in %s", kind, a.Result.Value, a.auth(), r.body)
		}
	}
	seen := map[string]bool{}
	for _, kind := range entra.Lies() {
		w.ClearFaults()
		id := settle("Success")
		w.Inject(entra.Fault{Host: entra.Connector, Path: "/EndTwoWayAuthentication", Kind: kind})
		r := w.post(t, token, "EndTwoWayAuthentication", end(id, "", kim))
		text := string(r.body)
		if r.status != 200 || seen[text] {
			t.Errorf("lie %d: %d, or the same as another one: %s", kind, r.status, text)
		}
		seen[text] = true
		var a answer
		plain := xml.Unmarshal(r.body, &a) == nil && a.XMLName.Local == "EndTwoWayAuthenticationResponse" && a.Result.Value == "Success" && a.auth() == "true"
		if plain && !strings.Contains(text, "PhoneAppDenied") && kind != entra.WrongSession && kind != entra.OtherUser && kind != entra.SplitValue {
			t.Errorf("lie %d is a plain approval: %s", kind, text)
		}
	}
}
