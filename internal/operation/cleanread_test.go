package operation_test

import (
	"slices"
	"testing"

	"countersign/policy"
)

func TestAReadWithOddSegmentsPassesWhereEveryReadingIsAnOrdinaryRead(t *testing.T) {
	p := shippedParser(t)
	for _, c := range []struct {
		host, target string
		paths        []string
	}{
		{"graph.microsoft.com", "/v1.0/me/../users/bob", []string{"/v1.0/me/../users/bob", "/v1.0/users/bob"}},
		{"graph.microsoft.com", "/beta/admin//windows/updates", []string{"/beta/admin//windows/updates", "/beta/admin/windows/updates"}},
		{"graph.microsoft.com", "/v1.0/./users//bob/../eve?$select=id", []string{"/v1.0/./users//bob/../eve", "/v1.0/users//eve", "/v1.0/./users/bob/../eve", "/v1.0/users/eve"}},
		{"management.azure.com", "/subscriptions//s/resourceGroups", []string{"/subscriptions//s/resourceGroups", "/subscriptions/s/resourceGroups"}},
		{"contoso.okta.com", "/api/v1//users/./u1", []string{"/api/v1//users/./u1", "/api/v1//users/u1", "/api/v1/users/./u1", "/api/v1/users/u1"}},
		{"api.github.com", "/repos/o/r/../s", []string{"/repos/o/r/../s", "/repos/o/s"}},
	} {
		call := mustParse(t, p, at(c.host, "GET", c.target, ""))
		var paths []string
		for _, in := range call.Inputs {
			paths = append(paths, in.Request.Path)
			if in.Operation.Sensitive || in.Operation.Batch == nil || in.Request.Digest != call.Digest || in.Request.Method != "GET" {
				t.Errorf("%s: %+v", c.target, in)
			}
		}
		if !slices.Equal(paths, c.paths) || !call.Batch || call.API == "" {
			t.Errorf("%s: readings %q, want %q", c.target, paths, c.paths)
		}
	}
	odd, plain := mustParse(t, p, at("graph.microsoft.com", "GET", "/v1.0/me/../users/bob", "")), mustParse(t, p, at("graph.microsoft.com", "GET", "/v1.0/users/bob", ""))
	if odd.Digest == plain.Digest || odd.Digest == (policy.Digest{}) {
		t.Error("a path and what some server makes of it have one digest: what is sent is not what was classified")
	}
}

func TestOddSegmentsStayUninspectableInWhateverIsNoOrdinaryRead(t *testing.T) {
	p := shippedParser(t)
	for what, r := range map[string]struct{ host, method, target, body string }{
		"a write":                        {"graph.microsoft.com", "PATCH", "/v1.0/me/../users/bob", `{"city":"x"}`},
		"a DELETE":                       {"graph.microsoft.com", "DELETE", "/v1.0//users/bob", ""},
		"a sensitive read, resolved":     {"graph.microsoft.com", "GET", "/v1.0/x/../informationProtection/bitlocker/recoveryKeys/k?$select=key", ""},
		"a sensitive read, merged":       {"graph.microsoft.com", "GET", "/v1.0/informationProtection//bitlocker/recoveryKeys/k?$select=key", ""},
		"a sensitive read, as it stands": {"graph.microsoft.com", "GET", "/v1.0/deviceLocalCredentials/../x?$select=credentials", ""},
		"an action by GET":               {"graph.microsoft.com", "GET", "/v1.0/applications/a/x/../addPassword", ""},
		"escaped dots":                   {"graph.microsoft.com", "GET", "/v1.0/me/%2e%2e/users/bob", ""},
		"an escaped slash":               {"graph.microsoft.com", "GET", "/v1.0/me%2f../users/bob", ""},
		"a matrix parameter":             {"graph.microsoft.com", "GET", "/v1.0/me/..;/users/bob", ""},
		"three dots":                     {"graph.microsoft.com", "GET", "/v1.0/me/.../users/bob", ""},
		"dots that climb out":            {"graph.microsoft.com", "GET", "/v1.0/../../users/bob", ""},
		"dots over the version":          {"graph.microsoft.com", "GET", "/v1.0/../users/bob", ""},
		"two slashes first":              {"management.azure.com", "GET", "//subscriptions/s", ""},
		"a batch":                        {"graph.microsoft.com", "GET", "/v1.0/x/../$batch", ""},
		"a body":                         {"graph.microsoft.com", "GET", "/v1.0/me/../users/bob", `{"a":1}`},
		"another method in the query":    {"graph.microsoft.com", "GET", "/v1.0/me/../users/bob?_method=DELETE", ""},
		"an API whose GET writes":        {"slack.com", "GET", "/api/x/../conversations.list", ""},
		"an action in the query":         {"iam.amazonaws.com", "GET", "/x/../?Action=ListUsers&Version=2010-05-08", ""},
		"GraphQL in the query":           {"api.github.com", "GET", "/x/../graphql?query=mutation%7BremoveEnterpriseAdmin(input%3A%7Blogin%3A%22x%22%7D)%7Bx%7D%7D", ""},
		"a host that no catalog knows":   {"other.example", "GET", "/a/../b", ""},
	} {
		_, err := p.Parse(at(r.host, r.method, r.target, r.body))
		wantUninspectable(t, what, err)
	}
}

func TestAHeaderThatNamesTheMethodTheRequestHasAnywayIsNoOverride(t *testing.T) {
	p := shippedParser(t)
	r := func(method, value string) error {
		_, err := p.Parse(at("graph.microsoft.com", method, "/v1.0/users/bob", `{"city":"x"}`, "Content-Type", jsonType, "X-HTTP-Method", value))
		return err
	}
	if err := r("PATCH", "PATCH"); err != nil {
		t.Errorf("PATCH on PATCH: %v", err)
	}
	for _, value := range []string{"GET", "patch", "PATCH,GET", "", "PATCH GET"} {
		wantUninspectable(t, "X-HTTP-Method: "+value, r("PATCH", value))
	}
	_, err := p.Parse(at("graph.microsoft.com", "PATCH", "/v1.0/users/bob", `{"city":"x"}`, "Content-Type", jsonType, "X-HTTP-Method", "PATCH", "X-HTTP-Method", "DELETE"))
	wantUninspectable(t, "two values", err)
}
