package refusal_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/refusal"
)

// shaped lists every form that an answer can have, under the name of its golden file.
var shaped = []struct {
	name     string
	api      string
	protocol string
}{
	{"", "", ""},
	{"aad-graph", "aad-graph", ""},
	{"aws-cbor", "aws", refusal.AWSCBOR},
	{"aws-ec2", "aws", refusal.AWSEC2},
	{"aws-json", "aws", refusal.AWSJSON},
	{"aws-query", "aws", refusal.AWSQuery},
	{"aws-rest", "aws", ""},
	{"aws-s3", "aws", refusal.AWSS3},
	{"azure-arm", "azure-arm", ""},
	{"duo-admin", "duo-admin", ""},
	{"exchange-online", "exchange-online", ""},
	{"github", "github", ""},
	{"github-graphql", "github", refusal.GraphQL},
	{"google-admin", "google-admin", ""},
	{"json-rpc", "", refusal.JSONRPC},
	{"microsoft-graph", "microsoft-graph", ""},
	{"microsoft-login", "microsoft-login", ""},
	{"okta", "okta", ""},
	{"scim", "scim", ""},
	{"sharepoint", "sharepoint", ""},
	{"sharepoint-verbose", "sharepoint", refusal.ODataVerbose},
	{"sharepoint-xml", "sharepoint", refusal.ODataXML},
	{"slack", "slack", ""},
}

// Every code in every shape is in a golden file: what an agent reads is reviewed like code.
func TestAnswersAreTheGoldenOnes(t *testing.T) {
	for _, tt := range shaped {
		t.Run("shape of "+tt.name, func(t *testing.T) {
			var out strings.Builder
			for _, c := range refusal.Codes() {
				e := &refusal.Error{
					Code: c, API: tt.api, Protocol: refusal.Protocol{Name: tt.protocol}, Hold: "0123",
					Undone: "The password of bob@contoso.com was not reset", Requester: "alice@contoso.com",
					Until: time.Date(2026, 11, 24, 14, 4, 30, 0, time.UTC), Err: errors.New("INNER-ERROR-TEXT"),
				}
				a := refusal.Render(e)
				fmt.Fprintf(&out, "%d %s\n", a.Status, a.Header.Get("Content-Type"))
				for _, name := range []string{refusal.ProxyStatusHeader, "Retry-After", "X-Amzn-Errortype", "X-Amzn-Requestid", "Smithy-Protocol"} {
					if v := a.Header.Get(name); v != "" {
						fmt.Fprintf(&out, "%s: %s\n", name, v)
					}
				}
				if tt.protocol == refusal.AWSCBOR {
					fmt.Fprintf(&out, "%q\n\n", a.Body)
				} else {
					fmt.Fprintf(&out, "%s\n", a.Body)
				}
				complete(t, e, a)
			}
			if strings.Contains(out.String(), "INNER-ERROR-TEXT") {
				t.Error("an inner error text reached the caller")
			}
			golden(t, "answers"+strings.TrimSuffix("-"+tt.name, "-")+".golden", out.String())
		})
	}
}

// complete fails unless the body has the three things that every answer has, and is well-formed.
func complete(t *testing.T, e *refusal.Error, a refusal.Answer) {
	t.Helper()
	for _, want := range []string{string(e.Code), e.Sentence(), e.Hold} {
		if !strings.Contains(string(a.Body), want) {
			t.Errorf("%s: no %q in %s", e.Code, want, a.Body)
		}
	}
	kind := a.Header.Get("Content-Type")
	switch {
	case strings.Contains(kind, "json"):
		if !json.Valid(a.Body) {
			t.Errorf("%s: body is not JSON: %s", e.Code, a.Body)
		}
	case strings.Contains(kind, "xml"):
		if _, err := elements(a.Body); err != nil {
			t.Errorf("%s: body is not XML: %v", e.Code, err)
		}
	}
	if a.Status != e.Code.Status() {
		t.Errorf("%s: status %d, want %d in every shape", e.Code, a.Status, e.Code.Status())
	}
}

// elements reads the texts of an XML document by the names of their elements.
func elements(body []byte) (map[string]string, error) {
	out := map[string]string{}
	d := xml.NewDecoder(strings.NewReader(string(body)))
	name := ""
	for {
		tok, err := d.Token()
		switch tok := tok.(type) {
		case xml.StartElement:
			name = tok.Name.Local
		case xml.CharData:
			out[name] += string(tok)
		case xml.EndElement:
			name = ""
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Names come from requests: whatever stands in them must not end the text that it stands in.
func TestATextCannotLeaveItsPlace(t *testing.T) {
	const nasty = `</Message><Code>Success</Code> "}],"ok":true,{" & ]]> <!-- \u0022 ü 🔑`
	for _, tt := range shaped {
		t.Run("shape of "+tt.name, func(t *testing.T) {
			e := &refusal.Error{Code: refusal.PolicyDenied, API: tt.api, Protocol: refusal.Protocol{Name: tt.protocol}, Undone: nasty}
			a := refusal.Render(e)
			if strings.Contains(a.Header.Get("Content-Type"), "xml") {
				got, err := elements(a.Body)
				if err != nil {
					t.Fatal(err)
				}
				if said := got["Message"] + got["message"]; said != e.Sentence() || got["Code"]+got["code"] != string(e.Code) {
					t.Errorf("read as %q, want %q and %s", got, e.Sentence(), e.Code)
				}
				return
			}
			if tt.protocol == refusal.AWSCBOR {
				if !strings.Contains(string(a.Body), e.Sentence()) {
					t.Errorf("body = %q", a.Body)
				}
				return
			}
			var v any
			if err := json.Unmarshal(a.Body, &v); err != nil {
				t.Fatal(err)
			}
			if !holds(v, e.Sentence()) {
				t.Errorf("no member of %s is %q", a.Body, e.Sentence())
			}
		})
	}
}

// holds reports whether a text is one of the values in v.
func holds(v any, text string) bool {
	switch v := v.(type) {
	case string:
		return v == text
	case []any:
		for _, e := range v {
			if holds(e, text) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if holds(e, text) {
				return true
			}
		}
	}
	return false
}

func TestAnAPIWithoutALineOfItsOwnAnswersAsItsFamily(t *testing.T) {
	for api, want := range map[string]string{
		"google-iam": `"errors":[{`, "microsoft-intune": `"innerError"`, "azure-devops": `"additionalInfo"`, "github-enterprise": `"documentation_url"`,
		"no-such-api": `"type":"urn:countersign:problem:policy_denied"`, "": `"type":"urn:countersign:problem:policy_denied"`,
	} {
		if got := string(refusal.Render(&refusal.Error{Code: refusal.PolicyDenied, API: api}).Body); !strings.Contains(got, want) {
			t.Errorf("%q answered %s, want it with %s", api, got, want)
		}
	}
}

func TestAnAnswerWithoutAHoldClaimsNone(t *testing.T) {
	for _, tt := range shaped {
		a := refusal.Render(&refusal.Error{Code: refusal.PolicyDenied, API: tt.api, Protocol: refusal.Protocol{Name: tt.protocol}})
		if strings.Contains(strings.ToLower(string(a.Body)), "hold") || a.Header.Get(refusal.HoldHeader)+a.Header.Get("X-Amzn-Requestid") != "" {
			t.Errorf("%s: %v %s", tt.name, a.Header, a.Body)
		}
	}
}

func TestAJSONRPCAnswerFindsItsCalls(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"one call", `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`, `"id":7}`},
		{"a text for id", `{"jsonrpc":"2.0","id":"a<b","method":"x"}`, `"id":"a<b"}`},
		{"a notification", `{"jsonrpc":"2.0","method":"x"}`, `"id":null}`},
		{"an id that is none", `{"jsonrpc":"2.0","id":{"a":1},"method":"x"}`, `"id":null}`},
		{"an id of any length", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 1000) + `","method":"x"}`, `"id":null}`},
		{"a batch", `[{"jsonrpc":"2.0","id":1},{"jsonrpc":"2.0"},{"jsonrpc":"2.0","id":"b"}]`, `"id":"b"}]`},
		{"a batch of one", `[{"jsonrpc":"2.0","id":1}]`, `"id":1}]`},
		{"a batch too large", "[" + strings.Repeat(`{"jsonrpc":"2.0","id":1},`, 100) + `{"jsonrpc":"2.0","id":1}]`, `"type":"urn:`},
		{"another version", `{"jsonrpc":"1.1","id":7}`, `"type":"urn:`},
		{"no JSON", `{"jsonrpc":`, `"type":"urn:`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := refusal.ProtocolOf("", refusal.Request{Target: "/rpc", Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(tt.body)})
			got := string(refusal.Render(&refusal.Error{Code: refusal.PolicyDenied, Protocol: p}).Body)
			if !strings.Contains(got, tt.want) {
				t.Errorf("answer = %s, want it with %s", got, tt.want)
			}
		})
	}
}

func TestTheProtocolIsReadFromTheRequest(t *testing.T) {
	form := []string{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}
	for _, tt := range []struct {
		name, api, host, target string
		header                  []string
		want                    string
	}{
		{"AWS form", "aws", "iam.amazonaws.com", "/", form, refusal.AWSQuery},
		{"AWS query", "aws", "sts.amazonaws.com", "/?Action=GetCallerIdentity&Version=2011-06-15", nil, refusal.AWSQuery},
		{"EC2", "aws", "ec2.eu-west-1.amazonaws.com", "/", form, refusal.AWSEC2},
		{"AWS target", "aws", "identitystore.us-east-1.amazonaws.com", "/", []string{"X-Amz-Target", "AWSIdentityStore.CreateUser"}, refusal.AWSJSON},
		{"CBOR", "aws", "monitoring.us-east-1.amazonaws.com", "/service/X/operation/Y", []string{"Smithy-Protocol", "rpc-v2-cbor"}, refusal.AWSCBOR},
		{"S3 by bucket", "aws", "bucket.s3.us-east-1.amazonaws.com", "/key", nil, refusal.AWSS3},
		{"Route 53", "aws", "route53.amazonaws.com", "/2013-04-01/hostedzone", nil, refusal.AWSQuery},
		{"AWS by path", "aws", "account.us-east-1.amazonaws.com", "/putAlternateContact", []string{"Content-Type", "application/json"}, ""},
		{"AWS SCIM", "aws", "scim.us-east-1.amazonaws.com", "/t/scim/v2/Users", nil, refusal.SCIM},
		{"GitHub", "github", "api.github.com", "/orgs/o/memberships/bob", nil, ""},
		{"GitHub GraphQL", "github", "api.github.com", "/graphql?x=1", nil, refusal.GraphQL},
		{"GitHub Enterprise", "github", "ghe.contoso.com", "/api/graphql", nil, refusal.GraphQL},
		{"Slack", "slack", "slack.com", "/api/admin.users.invite", form, ""},
		{"Slack SCIM", "slack", "api.slack.com", "/scim/v2/Users", nil, refusal.SCIM},
		{"a token", "okta", "contoso.okta.com", "/oauth2/v1/token", form, refusal.OAuth},
		{"no form", "okta", "contoso.okta.com", "/oauth2/v1/token", nil, ""},
		{"SharePoint light", "sharepoint", "contoso.sharepoint.com", "/_api/web", []string{"Accept", "application/json;odata=nometadata"}, ""},
		{"SharePoint verbose", "sharepoint", "contoso.sharepoint.com", "/_api/web", []string{"Accept", "application/json;odata=verbose"}, refusal.ODataVerbose},
		{"SharePoint by default", "sharepoint", "contoso.sharepoint.com", "/_api/web", nil, refusal.ODataXML},
		{"SharePoint as Graph", "sharepoint", "contoso.sharepoint.com", "/_api/v2.0/drives", nil, refusal.OData4},
		{"nothing known", "", "", "", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for i := 0; i+1 < len(tt.header); i += 2 {
				h.Set(tt.header[i], tt.header[i+1])
			}
			if got := refusal.ProtocolOf(tt.api, refusal.Request{Host: tt.host, Target: tt.target, Header: h}).Name; got != tt.want {
				t.Errorf("ProtocolOf = %q, want %q", got, tt.want)
			}
		})
	}
}
