package catalog_test

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
)

const hosted = `{"api": "hosted", "hosts": ["*.example.com", "*.deep.example.com", "exact.example.org"],
	"semantics": {"self_hosted": {"api/v3": "", "api/graph": "graph"}}, "secrets": ["token", "**/password", "outer/inner"],
	"entries": [{"name": "x", "method": "WRITE", "path": "/x", "category": "ordinary_write"}]}`

func loadFile(t *testing.T, text string) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(fstest.MapFS{"a.json": {Data: []byte(text)}})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func TestTheLabelsOfAHostAreThoseBeforeItsLongestPattern(t *testing.T) {
	c := loadFile(t, hosted)
	for host, want := range map[string]string{
		"a.example.com": "a", "b.a.example.com": "b a", "a.deep.example.com": "a", "deep.example.com": "deep", "exact.example.org": "",
	} {
		a, ok := c.ByHost(host)
		if !ok {
			t.Fatalf("%s has no API", host)
		}
		if got := strings.Join(a.Labels(host), " "); got != want {
			t.Errorf("Labels(%s) = %q, want %q", host, got, want)
		}
	}
}

func TestAnAPIIsFoundByItsPathOnAHostOfNobody(t *testing.T) {
	c := loadFile(t, hosted)
	for path, want := range map[string]string{"api/v3/orgs/o": "orgs/o", "api/v3": "", "api/graph": "graph", "api": "none", "v3/api": "none", "x/api/v3": "none"} {
		a, got, ok := c.ByPath(strings.Split(path, "/"))
		if ok != (want != "none") {
			t.Errorf("ByPath(%s): found %v", path, ok)
		}
		if ok && (a.Name() != "hosted" || strings.Join(got, "/") != want) {
			t.Errorf("ByPath(%s) = %s %q, want %q", path, a.Name(), got, want)
		}
	}
	for _, text := range []string{
		strings.Replace(hosted, `"api/v3"`, `"/api"`, 1),
		strings.Replace(hosted, `"api/v3"`, `"a/b/c/d/e"`, 1),
		strings.Replace(hosted, `{"self_hosted"`, `{"versions": ["v1"], "self_hosted"`, 1),
	} {
		if _, err := catalog.Load(fstest.MapFS{"a.json": {Data: []byte(text)}}); err == nil {
			t.Errorf("%s loads", text)
		}
	}
}

func TestAParameterIsASecretByTheNamesThatAreMaskedEverywhere(t *testing.T) {
	a, _ := loadFile(t, hosted).ByHost("exact.example.org")
	for name, want := range map[string]bool{"token": true, "password": true, "inner": false, "Token": false, "q": false} {
		if got := a.Secret(name); got != want {
			t.Errorf("Secret(%s) = %v, want %v", name, got, want)
		}
	}
}

func TestConditionsLookAtHeadersAndAtTheWholeQuery(t *testing.T) {
	a := load(t, `"entries": [
		{"name": "shared", "method": "WRITE", "path": "/things/{thing}", "when": [{"header": {"x-grant-*": ["*"], "x-acl": ["public-*"]}}], "category": "permission_grant", "summary": "Share", "undone": "Not shared"},
		{"name": "stored", "method": "WRITE", "path": "/things/{thing}", "when": [{"query_only": ["part", "id"]}], "category": "ordinary_write"}]`)
	for _, c := range []struct {
		headers, query map[string][]string
		want           string
	}{
		{nil, nil, "stored"},
		{map[string][]string{"x-acl": {"private"}}, map[string][]string{"part": {"1"}, "ID": {"2"}}, "stored"},
		{map[string][]string{"x-acl": {"private", "Public-Read"}}, nil, "shared"},
		{map[string][]string{"x-grant-read": {"id=1"}}, nil, "shared"},
		{nil, map[string][]string{"part": {"1"}, "policy": {""}}, ""},
	} {
		call := call("PUT", "/things/1", nil)
		call.Headers, call.Query = c.headers, c.query
		if m := a.Match(call); m.Name != c.want {
			t.Errorf("headers %v, query %v: %q, want %q", c.headers, c.query, m.Name, c.want)
		}
	}
}

func TestABodyThatWasNotReadMeetsTheConditionsOfASensitiveEntry(t *testing.T) {
	a := load(t, `"entries": [
		{"name": "secret.read", "method": "ACTION", "path": "/get", "when": [{"is": {"decrypt": ["true"]}}], "category": "read", "sensitive": true, "summary": "Read", "undone": "Not read"},
		{"name": "plain.read", "method": "ACTION", "path": "/get", "category": "read"}]`)
	for kind, want := range map[string]string{"binary": "secret.read", "none": "plain.read"} {
		c := call("POST", "/get", nil)
		c.BodyKind = kind
		if m := a.Match(c); m.Name != want {
			t.Errorf("a body that is %s: %q, want %q", kind, m.Name, want)
		}
	}
}

func TestAFamilyThatACallBelongsToIsToldOfToo(t *testing.T) {
	a := load(t, `"entries": [
		{"name": "user.remove", "method": "ACTION", "path": "/do/remove", "category": "account_creation", "summary": "Remove", "undone": "Not removed"},
		{"name": "codes.read", "method": "ACTION", "path": "/do/**", "when": [{"has": ["**/codes"]}], "category": "read", "sensitive": true, "summary": "Read codes", "undone": "Not read"},
		{"name": "thing.change", "method": "ACTION", "path": "/do/{thing}", "when": [{"has": ["**/codes"]}], "category": "security_config", "summary": "Change", "undone": "Not changed"}]`)
	m := a.Match(call("POST", "/do/remove", object{"want": object{"codes": true}}))
	if m.Name != "user.remove" || !slices.Equal(m.Also, []string{"codes.read"}) {
		t.Errorf("%s also %q, want user.remove also codes.read", m.Name, m.Also)
	}
}

func TestACustomersHostSpeaksTheAPIThatItIsSaidToSpeak(t *testing.T) {
	c := loadFile(t, hosted)
	with, err := c.With(map[string]string{"id.customer.test": "hosted", "*.git.customer.test": "hosted"})
	if err != nil {
		t.Fatalf("With: %v", err)
	}
	for host, want := range map[string]bool{
		"id.customer.test": true, "a.git.customer.test": true, "b.a.git.customer.test": true,
		"git.customer.test": false, "x.id.customer.test": false, "customer.test": false,
	} {
		if _, ok := with.ByHost(host); ok != want || with.Customer(host) != want {
			t.Errorf("%s: ByHost %v, Customer %v, want %v", host, ok, with.Customer(host), want)
		}
	}
	if _, ok := with.ByHost("a.example.com"); !ok || with.Customer("a.example.com") {
		t.Error("the API's own host is lost, or taken for a customer's")
	}
	if !slices.Contains(with.Hosts(), "*.git.customer.test") || !slices.IsSorted(with.Hosts()) {
		t.Errorf("Hosts = %v", with.Hosts())
	}
	if _, ok := c.ByHost("id.customer.test"); ok || len(c.Hosts()) == len(with.Hosts()) || c.Customer("id.customer.test") {
		t.Error("With changed the catalog it was asked of")
	}
}

func TestAHostThatCannotSpeakAnAPIIsAnErrorThatSaysWhy(t *testing.T) {
	c, err := catalog.Load(fstest.MapFS{
		"a.json": {Data: []byte(hosted)},
		"b.json": {Data: []byte(`{"api": "cloud", "hosts": ["*.cloud.test"], "semantics": {"aws": {"rpc": ["iam"]}}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"a.test": `no API is called "nobody"; there are cloud, hosted`, "b.test": "told by its host's name", "x.example.com": "one of hosted already",
		"*.example.com": "already one of hosted", "C.test": "not a lower-case name", "https://d.test": "not a lower-case name", "e.test:443": "not a lower-case name",
	} {
		api := map[string]string{"a.test": "nobody", "b.test": "cloud"}[host]
		if api == "" {
			api = "hosted"
		}
		if _, err := c.With(map[string]string{host: api}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("With(%s) = %v, want %q", host, err, want)
		}
	}
}
