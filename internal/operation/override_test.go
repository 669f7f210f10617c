package operation_test

import (
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
	"countersign/internal/operation"
)

// listLike is an API that documents a method header and takes slashes in quoted keys, as SharePoint does.
const listLike = `{
  "api": "listlike", "source": "test", "hosts": ["list.example"],
  "semantics": {"fold_case": true, "keys": "odata", "method_headers": ["x-http-method"], "quoted_slashes": true},
  "entries": [
    {"name": "item.update", "method": "PATCH", "path": "/lists/{list}/items/{item}", "category": "ordinary_write"},
    {"name": "item.delete", "method": "DELETE", "path": "/lists/{list}/items/{item}", "category": "security_config", "summary": "Delete {item}", "undone": "{item} was not deleted"},
    {"name": "site.admin", "method": "PATCH", "path": "/users/{user}", "when": [{"has": ["IsSiteAdmin"]}], "category": "admin_privilege", "summary": "Make {user} an administrator", "undone": "{user} was not made one"},
    {"name": "file.move", "method": "POST", "path": "/file/{file}/moveTo/{to}", "category": "ordinary_write", "params": {"x": "x"}},
    {"name": "odd.post", "method": "POST", "path": "/odd", "category": "security_config", "summary": "Odd", "undone": "Not odd"},
    {"name": "odd.merge", "method": "PATCH", "path": "/odd", "category": "ordinary_write"}
  ]}`

// armLike has a batch with names of its own, and absolute URLs in it.
const armLike = `{
  "api": "armlike", "source": "test", "hosts": ["arm.example"],
  "semantics": {"fold_case": true, "batch": "batch", "batch_absolute": true, "batch_names": {"id": "name", "method": "httpMethod", "headers": "requestHeaderDetails", "body": "content"}},
  "entries": [
    {"name": "role.assign", "method": "WRITE", "path": "/**/roleAssignments/{id}", "category": "admin_privilege", "summary": "Assign {id}", "undone": "{id} was not assigned"},
    {"name": "group.write", "method": "PUT", "path": "/groups/{group}", "category": "ordinary_write"}
  ]}`

// adminLike has its batch under any version and tenant.
const adminLike = `{
  "api": "adminlike", "source": "test", "hosts": ["admin.example"],
  "semantics": {"fold_case": true, "batch": "adminapi/*/*/$batch", "batch_absolute": true},
  "entries": [{"name": "cmdlet", "method": "ACTION", "path": "/adminapi/{version}/{tenant}/invoke", "category": "security_config", "summary": "Run", "undone": "Not run"}]}`

func parserOf(t *testing.T, files ...string) *operation.Parser {
	t.Helper()
	m := fstest.MapFS{}
	for i, f := range files {
		m[string(rune('a'+i))+".json"] = &fstest.MapFile{Data: []byte(f)}
	}
	c, err := catalog.Load(m)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	p, err := operation.New(operation.Options{Catalog: c, Key: key})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

func at(host, method, target, body string, header ...string) operation.Request {
	r := request(method, target, body, header...)
	r.Host = host
	return r
}

func TestADocumentedMethodHeaderNamesTheOperation(t *testing.T) {
	p := parserOf(t, listLike)
	for _, c := range []struct {
		about, name string
		sensitive   bool
		r           operation.Request
	}{
		{"merge is an update", "item.update", false, at("list.example", "POST", "/lists/1/items(2)", `{"Title":"x"}`, "Content-Type", jsonType, "X-HTTP-Method", "MERGE")},
		{"delete is a deletion", "item.delete", true, at("list.example", "POST", "/lists/1/items(2)", "", "X-HTTP-Method", "DELETE")},
		{"an administrator is made", "site.admin", true, at("list.example", "POST", "/users(12)", `{"IsSiteAdmin":true}`, "Content-Type", jsonType, "x-http-method", "PATCH")},
		{"the stricter of both counts", "odd.post", true, at("list.example", "POST", "/odd", `{"a":1}`, "Content-Type", jsonType, "X-HTTP-Method", "MERGE")},
	} {
		op := mustParse(t, p, c.r).Inputs[0].Operation
		if op.Name != c.name || op.Sensitive != c.sensitive {
			t.Errorf("%s: %q, sensitive %v, want %q", c.about, op.Name, op.Sensitive, c.name)
		}
	}
}

func TestAnyOtherMethodHeaderIsUninspectable(t *testing.T) {
	p := parserOf(t, listLike, armLike)
	for about, r := range map[string]operation.Request{
		"on another method":    at("list.example", "PUT", "/odd", "", "X-HTTP-Method", "DELETE"),
		"on a read":            at("list.example", "GET", "/odd", "", "X-HTTP-Method", "DELETE"),
		"an unknown method":    at("list.example", "POST", "/odd", "", "X-HTTP-Method", "PURGE"),
		"in another case":      at("list.example", "POST", "/odd", "", "X-HTTP-Method", "merge"),
		"twice":                at("list.example", "POST", "/odd", "", "X-HTTP-Method", "MERGE", "X-HTTP-Method", "DELETE"),
		"another name":         at("list.example", "POST", "/odd", "", "X-HTTP-Method-Override", "MERGE"),
		"of another API":       at("arm.example", "POST", "/groups/1", "", "X-HTTP-Method", "PUT"),
		"in the query":         at("list.example", "POST", "/odd?X-HTTP-Method=MERGE", ""),
		"with underscores too": at("list.example", "POST", "/odd", "", "X_HTTP_Method", "MERGE"),
	} {
		_, err := p.Parse(r)
		wantUninspectable(t, about, err)
	}
}

func TestAQuotedKeyMayHaveSlashes(t *testing.T) {
	p := parserOf(t, listLike, armLike)
	for _, target := range []string{
		"/file('/sites/hr/a.docx')/moveTo('/sites/hr/b.docx')",
		"/file('%2Fsites%2Fhr%2Fa.docx')/moveTo(newurl='%2Fsites%2Fhr%2Fb.docx')",
		"/file('/sites/it''s/a.docx')/moveTo('b')",
	} {
		if op := mustParse(t, p, at("list.example", "POST", target, "")).Inputs[0].Operation; op.Name != "file.move" {
			t.Errorf("%s is %q", target, op.Name)
		}
	}
	for _, target := range []string{
		"/file('/sites/../users(12)')/moveTo('b')",
		"/file('%2Fsites%2F..%2Fa')/moveTo('b')",
		"/file('//sites/a')/moveTo('b')",
		"/file('/sites/hr/a.docx)/moveTo(b)",
		"/file(%2Fsites%2Fa)/moveTo('b')",
		"/file('a'%2Fb)/moveTo('b')",
	} {
		_, err := p.Parse(at("list.example", "POST", target, ""))
		wantUninspectable(t, target, err)
	}
	_, err := p.Parse(at("arm.example", "PUT", "/groups/'a%2Fb'", ""))
	wantUninspectable(t, "an API without such keys", err)
}

func TestABatchMayHaveItsOwnNames(t *testing.T) {
	p := parserOf(t, armLike)
	call := mustParse(t, p, at("arm.example", "POST", "/batch?api-version=2020-06-01", `{"requests":[
		{"httpMethod":"GET","name":"a","url":"/groups?api-version=1"},
		{"httpMethod":"PUT","url":"https://ARM.example:443/scope/roleAssignments/7?api-version=1","content":{"x":1},"requestHeaderDetails":{"commandName":"c"}},
		{"httpMethod":"PUT","url":"groups/batch","content":{"x":1}}]}`))
	if !call.Batch || len(call.Inputs) != 3 {
		t.Fatalf("Batch = %v with %d inputs, want 3", call.Batch, len(call.Inputs))
	}
	for i, want := range []string{"", "role.assign", "group.write"} {
		if got := call.Inputs[i].Operation.Name; got != want {
			t.Errorf("part %d is %q, want %q", i, got, want)
		}
	}
	if op := mustParse(t, p, at("arm.example", "PUT", "/groups/batch", "{}")).Inputs[0].Operation; op.Name != "group.write" {
		t.Errorf("a group called batch is %q", op.Name)
	}
	for about, body := range map[string]string{
		"another host":    `{"requests":[{"httpMethod":"GET","url":"https://other.example/x"}]}`,
		"plain http":      `{"requests":[{"httpMethod":"GET","url":"http://arm.example/x"}]}`,
		"user in the URL": `{"requests":[{"httpMethod":"GET","url":"https://arm.example@other.example/x"}]}`,
		"no path":         `{"requests":[{"httpMethod":"GET","url":"https://arm.example"}]}`,
		"nested":          `{"requests":[{"httpMethod":"POST","url":"/batch","content":{"requests":[]}}]}`,
		"Graph's names":   `{"requests":[{"id":"1","method":"GET","url":"/x"}]}`,
		"both names":      `{"requests":[{"httpMethod":"GET","method":"PUT","url":"/x"}]}`,
		"a member more":   `{"requests":[{"httpMethod":"GET","url":"/x","body":{}}]}`,
	} {
		_, err := p.Parse(at("arm.example", "POST", "/batch", body))
		wantUninspectable(t, about, err)
	}
}

func TestABatchEndpointMayStandUnderVersionAndTenant(t *testing.T) {
	p := parserOf(t, adminLike)
	body := `{"requests":[{"id":"1","method":"POST","url":"https://admin.example/adminapi/beta/t/invoke","body":{},"headers":{"Content-Type":"application/json"}}]}`
	call := mustParse(t, p, at("admin.example", "POST", "/adminapi/beta/contoso.com/$batch", body))
	if !call.Batch || call.Inputs[0].Operation.Name != "cmdlet" {
		t.Errorf("Batch = %v, %q, want the part's own name", call.Batch, call.Inputs[0].Operation.Name)
	}
	_, err := p.Parse(at("admin.example", "POST", "/adminapi/$batch", body))
	wantUninspectable(t, "the endpoint in another place", err)
}
