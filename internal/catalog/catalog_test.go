package catalog_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
)

type object = map[string]any

// load makes a catalog of one API with the given members of the file.
func load(t testing.TB, members string) *catalog.API {
	t.Helper()
	text := `{"api": "demo", "hosts": ["api.example.com"], "semantics": {"fold_case": true, "keys": "odata",
		"namespaces": ["ns."], "path_addressed": ["items"], "plain_keys": ["name"]}, ` + members + `}`
	c, err := catalog.Load(fstest.MapFS{"demo.json": {Data: []byte(text)}})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	a, ok := c.ByHost("api.example.com")
	if !ok {
		t.Fatal("api.example.com has no API")
	}
	return a
}

func call(method, path string, body any) catalog.Call {
	kind := "none"
	if body != nil {
		kind = "json"
	}
	return catalog.Call{Method: method, Segments: strings.Split(strings.Trim(path, "/"), "/"), Body: body, BodyKind: kind}
}

// shipped loads the catalog of the module.
func shipped(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(os.DirFS("../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func byHost(t testing.TB, host string) *catalog.API {
	t.Helper()
	a, ok := shipped(t).ByHost(host)
	if !ok {
		t.Fatalf("%s is in no API", host)
	}
	return a
}

const demo = `"names": {"role": {"r-1": "Owner of Everything"}}, "secrets": ["**/secretText"],
"roots": {"@user": ["/users/{user}", "/{user=me}"]},
"entries": [
 {"name": "reset", "method": "ACTION", "path": "@user/reset", "category": "credential_reset", "resource": "user", "summary": "Reset {user}", "undone": "{user} was not reset", "secrets": ["new/value"]},
 {"name": "any.reset", "method": "ACTION", "path": "/**/reset", "category": "credential_reset", "summary": "Reset something", "undone": "Nothing was reset"},
 {"name": "password", "method": "PATCH", "path": "@user", "when": [{"has": ["passwordProfile"]}], "category": "credential_reset", "resource": "user", "summary": "Set the password of {user}", "undone": "x"},
 {"name": "type", "method": "PATCH", "path": "@user", "when": [{"has": ["userType"]}], "category": "admin_privilege", "resource": "user", "summary": "Make {user} a {type}", "undone": "x", "params": {"type": "userType"}},
 {"name": "profile", "method": "PATCH", "path": "@user", "when": [{"only": ["displayName", "city"]}], "category": "ordinary_write", "summary": "Change the profile of {user}"},
 {"name": "mail", "method": "WRITE", "path": "@user/mail/**", "category": "ordinary_write"},
 {"name": "rule", "method": "POST", "path": "@user/mail/rules", "when": [{"has": ["actions/forwardTo"]}], "category": "security_config", "summary": "Forward mail", "undone": "x"},
 {"name": "files", "method": "WRITE", "path": "/drive/**", "category": "ordinary_write"},
 {"name": "share", "method": "POST", "path": "/**/share", "category": "permission_grant", "summary": "Share", "undone": "x"},
 {"name": "role.add", "method": "POST", "path": "/roles/{role}/members", "category": "admin_privilege", "summary": "Make {who} a {role}", "undone": "x", "params": {"who": "@odata.id"}},
 {"name": "policy", "method": "WRITE", "path": "/policies/**", "category": "security_config", "summary": "Change a policy", "undone": "x"},
 {"name": "policy.test", "method": "POST", "path": "/policies/test", "category": "read", "inside": "policy"},
 {"name": "get.secret", "method": "GET", "path": "/secrets/{secret}", "when": [{"query": {"$select": ["value"]}}], "category": "read", "sensitive": true, "summary": "Read {secret}", "undone": "x"},
 {"name": "report", "method": "POST", "path": "/reports/get*", "category": "read"},
 {"name": "settings", "method": "POST", "path": "/settings", "when": [{"not": {"all": {"values/name": ["Label*"]}}}], "category": "security_config", "summary": "s", "undone": "x"},
 {"name": "labels", "method": "POST", "path": "/settings", "when": [{"all": {"values/name": ["Label*"]}}], "category": "ordinary_write"},
 {"name": "literal", "method": "POST", "path": "/things/special", "category": "account_creation", "summary": "s", "undone": "x"},
 {"name": "param", "method": "POST", "path": "/things/{thing}", "category": "account_creation", "summary": "s", "undone": "x"},
 {"name": "rules", "method": "POST", "path": "/rules/**", "when": [{"has": ["forward"]}], "category": "security_config", "summary": "s", "undone": "x"},
 {"name": "rules.test", "method": "POST", "path": "/rules/test", "category": "read"},
 {"name": "bind", "method": "POST", "path": "/teams", "when": [{"bound": true}], "category": "permission_grant", "summary": "s", "undone": "x"},
 {"name": "team", "method": "POST", "path": "/teams", "category": "ordinary_write"}
]`

func TestTheStricterAndMoreSpecificEntryNamesACall(t *testing.T) {
	a := load(t, demo)
	deep := object{"a": []any{object{"b": object{"owners@odata.bind": []any{"x"}}}}}
	for _, c := range []struct {
		about, want string
		call        catalog.Call
	}{
		{"a literal path", "reset", call("POST", "/users/bob/reset", nil)},
		{"names fold case", "reset", call("POST", "/USERS/bob/ReSet", nil)},
		{"a captured literal", "reset", call("POST", "/me/reset", nil)},
		{"GET on an action's name is as bad as POST", "reset", call("GET", "/me/reset", nil)},
		{"so is HEAD", "reset", call("HEAD", "/me/reset", nil)},
		{"a preflight does nothing", "", call("OPTIONS", "/me/reset", nil)},
		{"an unusual method does not get around an action", "reset", call("BREW", "/me/reset", nil)},
		{"a wide entry catches another way to the same action", "any.reset", call("POST", "/groups/1/members/2/reset", nil)},
		{"a family does not swallow an action beneath it", "any.reset", call("POST", "/me/mail/x/reset", nil)},
		{"a qualified action", "reset", call("POST", "/users/bob/ns.reset", nil)},
		{"a cast before an action", "reset", call("POST", "/users/bob/ns.kinds.user/reset", nil)},
		{"a cast at the end", "password", call("PATCH", "/users/bob/ns.user", object{"passwordProfile": nil})},
		{"a body property", "password", call("PATCH", "/users/bob", object{"PASSWORDprofile": object{}})},
		{"beside an ordinary one", "password", call("PATCH", "/users/bob", object{"city": "x", "passwordProfile": object{}})},
		{"only ordinary properties", "profile", call("PATCH", "/me", object{"City": "x"})},
		{"an unknown property", "", call("PATCH", "/me", object{"city": "x", "somethingNew": 1})},
		{"an empty object is not ordinary", "", call("PATCH", "/me", object{})},
		{"a list is searched", "password", call("PATCH", "/me", []any{object{"passwordProfile": 1}})},
		{"text that cannot be read is the worst it may be", "password", call("PATCH", "/me", "<xml/>")},
		{"no body", "", call("PATCH", "/me", nil)},
		{"a family", "mail", call("POST", "/me/mail/1/copy", nil)},
		{"a family starts at its root", "mail", call("POST", "/me/mail", nil)},
		{"a family's conditioned exception", "rule", call("POST", "/me/mail/rules", object{"actions": object{"forwardTo": []any{object{}}}})},
		{"which does not hold", "mail", call("POST", "/me/mail/rules", object{"actions": object{"move": 1}})},
		{"a family does not speak for another method of a sensitive path", "", call("PUT", "/drive/x/share", nil)},
		{"sharing a file", "share", call("POST", "/drive/items/1/share", nil)},
		{"a path-addressed item", "share", call("POST", "/drive/root:/a/b.txt:/share", nil)},
		{"a file named like an action", "files", call("PUT", "/drive/root:/me/reset", nil)},
		{"a file in a folder named like an action", "files", call("PUT", "/drive/items/1:/users/share:/content", nil)},
		{"a colon hides nothing elsewhere", "any.reset", call("POST", "/groups:/x/reset", nil)},
		{"an exception that names what it is inside of", "policy.test", call("POST", "/policies/test", nil)},
		{"and only for its method", "policy", call("DELETE", "/policies/test", nil)},
		{"an entry inside another that it does not name", "rules", call("POST", "/rules/test", object{"forward": 1})},
		{"whose condition does not hold", "rules.test", call("POST", "/rules/test", object{})},
		{"the start of a name", "report", call("POST", "/reports/getUsage", nil)},
		{"not the start of a name", "", call("POST", "/reports/purge", nil)},
		{"every value is listed", "labels", call("POST", "/settings", object{"values": []any{object{"name": "LabelA"}, object{"name": "labelB"}}})},
		{"one value is not", "settings", call("POST", "/settings", object{"values": []any{object{"name": "LabelA"}, object{"name": "Consent"}}})},
		{"no value", "settings", call("POST", "/settings", nil)},
		{"a literal before a parameter", "literal", call("POST", "/things/Special", nil)},
		{"a parameter", "param", call("POST", "/things/other", nil)},
		{"a relation deep in the body", "bind", call("POST", "/teams", deep)},
		{"no relation", "team", call("POST", "/teams", object{"name": "x"})},
		{"unknown", "", call("POST", "/elsewhere", nil)},
		{"too deep to be ordinary", "", call("POST", "/drive"+strings.Repeat("/x", 70), nil)},
	} {
		m := a.Match(c.call)
		if m.Name != c.want {
			t.Errorf("%s: Name = %q, want %q", c.about, m.Name, c.want)
		}
		if c.want == "" && (m.Coverage != catalog.Unlisted || m.Sensitive) {
			t.Errorf("%s: Coverage = %s, Sensitive = %v, want unlisted and not sensitive", c.about, m.Coverage, m.Sensitive)
		}
	}
}

func TestAReadIsOrdinaryUnlessItDisclosesACredential(t *testing.T) {
	a := load(t, demo)
	for query, sensitive := range map[string]bool{"id": false, "id,VALUE": true, "valueless": false, "*": true} {
		c := call("GET", "/secrets/1", nil)
		c.Query = map[string][]string{"$select": {query}}
		if m := a.Match(c); m.Category != catalog.Read || m.Sensitive != sensitive {
			t.Errorf("$select=%s: Category = %s, Sensitive = %v, want read and %v", query, m.Category, m.Sensitive, sensitive)
		}
	}
	c := call("GET", "/secrets/1", nil)
	c.Query = map[string][]string{"SELECT": {"value"}} // OData 4.01: the dollar sign may be left out
	if !a.Match(c).Sensitive {
		t.Error("select without $ is not seen")
	}
	if m := a.Match(call("GET", "/elsewhere", nil)); m.Category != catalog.Read || m.Coverage != catalog.Unlisted {
		t.Errorf("an unknown read is %s, %s", m.Category, m.Coverage)
	}
}

func TestASummaryNamesPeopleAndRolesAndHidesNothing(t *testing.T) {
	a := load(t, demo)
	long := strings.Repeat("x", 400)
	for _, c := range []struct {
		want string
		call catalog.Call
	}{
		{"Reset bob@contoso.com", call("POST", "/users/bob@contoso.com/reset", nil)},
		{"Reset bob@contoso.com", call("POST", "/users/name=bob@contoso.com/reset", nil)},
		{"Reset id=1", call("POST", "/users/id=1/reset", nil)},
		{"Make 7 a Owner of Everything", call("POST", "/roles/R-1/members", object{"@odata.id": "https://api.example.com/users/7"})},
		{"Make 7 a Owner of Everything", call("POST", "/roles/templateId=r-1/members", object{"@odata.id": "https://api.example.com/users('7')"})},
		{"Make https://api.example.com/users/7?x=/8 a other", call("POST", "/roles/other/members", object{"@odata.id": "https://api.example.com/users/7?x=/8"})},
		{"Make an unnamed who a other", call("POST", "/roles/other/members", nil)},
		{"Reset a\uFFFDb\uFFFDc", call("POST", "/users/a\u202eb\nc/reset", nil)},
		{"Reset " + long[:127] + "…", call("POST", "/users/"+long+"/reset", nil)},
		{"Set the password of 1; also: Make 1 a Member", call("PATCH", "/users/1", object{"passwordProfile": object{}, "userType": "Member"})},
	} {
		if m := a.Match(c.call); m.Summary != c.want {
			t.Errorf("Summary = %q, want %q", m.Summary, c.want)
		}
	}
	m := a.Match(call("PATCH", "/users/1", object{"passwordProfile": object{}, "userType": "Member"}))
	if len(m.Also) != 1 || m.Also[0] != "type" {
		t.Errorf("Also = %q, want type", m.Also)
	}
	if m = a.Match(call("POST", "/users/name=Bob/reset", nil)); m.ResourceType != "user" || m.ResourceID != "Bob" || m.Undone != "Bob was not reset" {
		t.Errorf("Match = %+v", m)
	}
}

func TestSecretsAreFoundInTheBodysOwnSpelling(t *testing.T) {
	a := load(t, demo)
	m := a.Match(call("POST", "/me/reset", object{"New": object{"VALUE": "x"}, "list": []any{object{"SecretText": 1}, object{"SecretText": 2}}}))
	got := map[string]bool{}
	for _, s := range m.Secrets {
		got[strings.Join(s, "/")] = true
	}
	if len(got) != 2 || !got["New/VALUE"] || !got["list/*/SecretText"] {
		t.Errorf("Secrets = %v", m.Secrets)
	}
	m = a.Match(call("POST", "/elsewhere", object{"secretText": "x"}))
	if len(m.Secrets) != 1 {
		t.Errorf("Secrets of an unlisted write = %v, want the file's own", m.Secrets)
	}
}

func TestWhereAnAPIDoesNotFoldCaseNamesAreExact(t *testing.T) {
	c, err := catalog.Load(fstest.MapFS{"x.json": {Data: []byte(`{"api": "x", "hosts": ["x.example.com"], "entries": [
		{"name": "do", "method": "POST", "path": "/Things/{thing}/Do", "when": [{"has": ["Key"]}], "category": "credential_reset", "summary": "Do {thing}", "undone": "x"}]}`)}})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := c.ByHost("x.example.com")
	for path, want := range map[string]string{"/Things/1/Do": "do", "/things/1/do": ""} {
		if m := a.Match(call("POST", path, object{"Key": 1})); m.Name != want {
			t.Errorf("%s: Name = %q, want %q", path, m.Name, want)
		}
	}
	if m := a.Match(call("POST", "/Things/1/Do", object{"key": 1})); m.Name != "" {
		t.Errorf("another key: Name = %q", m.Name)
	}
}

func TestMatchIsSafeForManyGoroutines(t *testing.T) {
	a := load(t, demo)
	done := make(chan string, 8)
	for range cap(done) {
		go func() { done <- a.Match(call("PATCH", "/me", object{"passwordProfile": object{}})).Name }()
	}
	for range cap(done) {
		if name := <-done; name != "password" {
			t.Errorf("Name = %q", name)
		}
	}
}
