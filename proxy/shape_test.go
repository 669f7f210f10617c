package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"countersign/internal/operation"
	"countersign/proxy"
)

// parserOf names another API than parser does.
type parserOf struct{ api string }

func (p parserOf) Parse(r operation.Request) (operation.Call, error) {
	call, err := parser{}.Parse(r)
	call.API = p.api
	return call, err
}

func TestARefusalSpeaksTheProtocolOfItsRequest(t *testing.T) {
	as := func(api string) setup {
		return func(o *proxy.Options) {
			o.Parser, o.APIOf, o.MaxBody = parserOf{api}, func(string) string { return api }, 1000
		}
	}
	for _, c := range []struct {
		name, api, path, kind, target, body string
		want                                string
	}{
		{"AWS query", "aws", "/", "application/x-www-form-urlencoded", "", "Action=CreateAccessKey", "<ErrorResponse><Error><Type>Sender</Type><Code>requester_unknown</Code>"},
		{"AWS JSON", "aws", "/", "application/x-amz-json-1.1", "AWSIdentityStore.CreateUser", "{}", `{"__type":"requester_unknown"`},
		{"GraphQL", "github", "/graphql", "application/json", "", `{"query":"mutation{x}"}`, `{"data":null,"errors":[{"type":"requester_unknown"`},
		{"JSON-RPC", "", "/rpc", "application/json", "", `{"jsonrpc":"2.0","id":7,"method":"x"}`, `"id":7}`},
		{"one that was not read", "aws", "/", "application/x-www-form-urlencoded", "", strings.Repeat("x", 2000), "<Code>body_too_large</Code>"},
		{"one that cannot be read", "aws", "/", "application/x-www-form-urlencoded", "", "ambiguous", "<Code>uninspectable</Code>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil, as(c.api))
			h := http.Header{"Content-Type": {c.kind}}
			if c.target != "" {
				h["X-Amz-Target"] = []string{c.target}
			}
			for _, route := range w.routes() {
				a := w.do(route.client, "POST", route.base+c.path, c.body, h)
				if a.StatusCode != http.StatusForbidden || !strings.Contains(a.body, c.want) {
					t.Errorf("%s answered %d %s, want 403 with %s", route.base, a.StatusCode, a.body, c.want)
				}
			}
		})
	}
}
