package operation_test

import (
	"encoding/base64"
	"net/url"
	"os"
	"strings"
	"testing"

	"countersign/internal/catalog"
	"countersign/internal/operation"
	"countersign/policy"
)

const ownClient = "6f9d1c6e-8c1b-4c7e-9a52-0d0f3a1b2c3d"

func TestNoAgentGetsATokenOfAnApplicationThatVerifiesPeople(t *testing.T) {
	c, err := catalog.Load(os.DirFS("../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	p, err := operation.New(operation.Options{Catalog: c, Key: key, OwnClients: []string{"", strings.ToUpper(ownClient)}})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	j := newJudge(t, "", "step_up")
	segment := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	assertion := segment(`{"alg":"PS256"}`) + "." + segment(`{"iss":"`+ownClient+`","sub":"`+ownClient+`"}`) + ".c2ln"
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	token := func(form string, header ...string) operation.Request {
		return at("login.microsoftonline.com", "POST", "/contoso.com/oauth2/v2.0/token", form, append(header, "Content-Type", awsForm)...)
	}
	for name, r := range map[string]operation.Request{
		"its id":               token("grant_type=client_credentials&client_secret=x&client_id=" + ownClient),
		"in upper case":        token("grant_type=refresh_token&refresh_token=x&client_id=" + strings.ToUpper(ownClient)),
		"escaped":              token("client_id=%36" + ownClient[1:]),
		"as the resource":      token("client_id=other&scope=" + url.QueryEscape("api://"+ownClient+"/.default")),
		"an assertion":         token("client_assertion_type=x&client_assertion=" + assertion),
		"Basic credentials":    token("grant_type=client_credentials", "Authorization", basic(ownClient+":s3cret")),
		"Basic, escaped":       token("grant_type=client_credentials", "Authorization", basic("%36"+ownClient[1:]+":s3cret")),
		"JSON":                 at("login.microsoftonline.com", "POST", "/contoso.com/oauth2/v2.0/token", `{"client_id":"`+ownClient+`"}`, "Content-Type", jsonType),
		"text":                 at("login.microsoftonline.com", "POST", "/contoso.com/oauth2/v2.0/token", "client_id="+ownClient, "Content-Type", "text/plain"),
		"the query":            at("login.microsoftonline.com", "GET", "/contoso.com/oauth2/v2.0/authorize?response_type=code&client_id="+ownClient, ""),
		"a path nobody listed": at("login.windows.net", "POST", "/contoso.com/oauth2/v3.0/token", "client_id="+ownClient, "Content-Type", awsForm),
	} {
		if got := j.effect(t, r); got != policy.Deny {
			t.Errorf("%s: %v, want deny", name, got)
		}
	}
	for name, r := range map[string]operation.Request{
		"another client":    token("grant_type=client_credentials&client_secret=x&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_id=0" + ownClient[1:]),
		"reading it, Graph": at("graph.microsoft.com", "GET", "/v1.0/applications?$filter=appId%20eq%20'"+ownClient+"'", ""),
	} {
		if got := j.effect(t, r); got != policy.Allow {
			t.Errorf("%s: %v, want allow", name, got)
		}
	}
	op := mustParse(t, p, token("client_id="+ownClient)).Inputs[0].Operation
	if op.Name != "auth.token.verification_backend" || !op.Sensitive || !strings.Contains(op.Summary, "verifies people") {
		t.Errorf("operation = %+v", op)
	}
}
