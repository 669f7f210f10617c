package catalog_test

import "testing"

func TestAnAllowListReachesIntoAnObject(t *testing.T) {
	a := load(t, `"entries": [
 {"name": "profile", "method": "POST", "path": "/users/{user}", "when": [{"only": ["id", "profile/city", "profile/name/first"]}], "category": "ordinary_write"},
 {"name": "other", "method": "POST", "path": "/users/{user}", "when": [{"not": {"only": ["id", "profile/city", "profile/name/first"]}}], "category": "security_config", "summary": "s", "undone": "u"}]`)
	for _, c := range []struct {
		want string
		body any
	}{
		{"profile", object{"profile": object{"city": "x"}}},
		{"profile", object{"id": object{"anything": 1}, "Profile": object{"City": nil, "name": object{"first": "x"}}}},
		{"profile", object{"profile": object{}}},
		{"other", object{"profile": object{"city": "x", "login": "y"}}},
		{"other", object{"profile": object{"name": object{"first": "x", "last": "y"}}}},
		{"other", object{"profile": object{"name": "x"}}},
		{"profile", object{"profile": []any{object{"city": "x"}, object{}}}},
		{"other", object{"profile": []any{object{"city": "x"}, object{"login": "y"}}}},
		{"other", object{"profile": []any{"city"}}},
		{"other", object{"profile": nil}},
		{"other", object{"city": "x"}},
		{"other", object{}},
		{"other", nil},
		{"other", "profile"},
		{"other", []any{object{"id": "x"}}},
	} {
		if m := a.Match(call("POST", "/users/1", c.body)); m.Name != c.want {
			t.Errorf("%v is %s, want %s", c.body, m.Name, c.want)
		}
	}
}
