package catalog_test

import (
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
)

func TestFieldsAndTextDecide(t *testing.T) {
	c, err := catalog.Load(fstest.MapFS{"x.json": {Data: []byte(`{
	  "api": "x", "source": "test", "hosts": ["x.example"], "semantics": {"fold_case": true},
	  "entries": [
	    {"name": "set.ordinary", "method": "POST", "path": "/run", "when": [{"fields": {"Input/Parameters": ["Identity", "CustomAttribute*"]}}], "category": "ordinary_write"},
	    {"name": "set.other", "method": "POST", "path": "/run", "when": [{"not": {"fields": {"Input/Parameters": ["Identity", "CustomAttribute*"]}}}], "category": "security_config", "summary": "Run", "undone": "Not run"},
	    {"name": "soap.reset", "method": "POST", "path": "/soap", "when": [{"text": ["/ResetPassword"]}], "category": "credential_reset", "summary": "Reset", "undone": "Not reset"},
	    {"name": "soap.other", "method": "POST", "path": "/soap", "when": [{"not": {"text": ["/ResetPassword"]}}], "category": "security_config", "summary": "Call", "undone": "Not called"}
	  ]}`)}})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	a, _ := c.ByHost("x.example")
	run := func(v any) object { return object{"Input": object{"Parameters": v}} }
	for _, tc := range []struct {
		about, path, want string
		body              any
	}{
		{"all listed", "/run", "set.ordinary", run(object{"identity": "x", "customattribute7": "y"})},
		{"no property", "/run", "set.ordinary", run(object{})},
		{"one more", "/run", "set.other", run(object{"Identity": "x", "Password": "y"})},
		{"no object", "/run", "set.other", run("Identity")},
		{"nothing there", "/run", "set.other", object{"Input": object{}}},
		{"one of several", "/run", "set.other", object{"Input": []any{object{"Parameters": object{"Identity": "x"}}, object{"Parameters": object{"Password": "x"}}}}},
		{"a list of them", "/run", "set.ordinary", run([]any{object{"Identity": "x"}})},
		{"an empty list", "/run", "set.other", run([]any{})},
		{"unread text", "/run", "set.other", "Identity"},
		{"a word", "/soap", "soap.reset", "<Action>http://x/RESETPASSWORD</Action>"},
		{"another word", "/soap", "soap.other", "<Action>http://x/GetUser</Action>"},
		{"JSON is no text", "/soap", "soap.other", object{"a": "/ResetPassword"}},
		{"no body", "/soap", "soap.other", nil},
	} {
		if m := a.Match(call("POST", tc.path, tc.body)); m.Name != tc.want {
			t.Errorf("%s: Name = %q, want %q", tc.about, m.Name, tc.want)
		}
	}
}
