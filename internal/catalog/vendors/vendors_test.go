package vendors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
	"countersign/internal/catalog/vendors"
	"countersign/internal/operation"
)

// shipped compares with the catalog of the module.
func shipped(t *testing.T) vendors.Options {
	t.Helper()
	c, err := catalog.Load(os.DirFS("../../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return options(t, c)
}

// of compares with a catalog of one API and the given entries.
func of(t *testing.T, api, host, semantics, entries string) vendors.Options {
	t.Helper()
	text := `{"api": "` + api + `", "hosts": ["` + host + `"], "semantics": ` + semantics + `, "entries": [` + entries + `]}`
	c, err := catalog.Load(fstest.MapFS{"demo.json": {Data: []byte(text)}})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return options(t, c)
}

func options(t *testing.T, c *catalog.Catalog) vendors.Options {
	t.Helper()
	p, err := operation.New(operation.Options{Catalog: c})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return vendors.Options{Catalog: c, Parser: p}
}

func diff(t *testing.T, o vendors.Options, text string) vendors.Report {
	t.Helper()
	d, err := vendors.Read(strings.NewReader(text))
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	r, err := vendors.Diff(t.Context(), o, d)
	if err != nil {
		t.Fatalf("Diff: %v", err)
	}
	return r
}

func find(r vendors.Report, kind, method, path string) *vendors.Finding {
	i := slices.IndexFunc(r.Findings, func(f vendors.Finding) bool {
		return f.Kind == kind && f.Method == method && f.Path == path
	})
	if i < 0 {
		return nil
	}
	return &r.Findings[i]
}

func TestTheFormatIsToldByTheContent(t *testing.T) {
	for file, want := range map[string]struct {
		format, api string
		operations  int
	}{
		"graph-permissions.json":          {vendors.GraphPermissions, "microsoft-graph", 98},
		"okta-openapi3.yaml":              {vendors.OpenAPI3, "okta", 19},
		"slack-swagger2.json":             {vendors.Swagger2, "slack", 12},
		"google-directory-discovery.json": {vendors.GoogleDiscovery, "google-admin", 8},
		"aws-iam-service-2.json":          {vendors.AWSServiceModel, "aws", 11},
		"aws-identitystore-smithy.json":   {vendors.Smithy, "aws", 8},
		"aws-iam-reference.json":          {vendors.AWSReference, "aws", 7},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		r := diff(t, shipped(t), string(data))
		if r.Format != want.format || r.API != want.api || r.Operations != want.operations || r.Covered == 0 {
			t.Errorf("%s: %s of %s, %d operations, %d covered, want %+v", file, r.Format, r.API, r.Operations, r.Covered, want)
		}
		if n := r.Covered + r.Reads + r.Count(vendors.New) + r.Count(vendors.Unread); n != r.Operations {
			t.Errorf("%s: %d operations are told of, want %d", file, n, r.Operations)
		}
	}
}

const openAPI = `{"openapi": "3.1.0", "info": {"title": "Demo", "version": "7"}, "servers": [{"url": "https://{org}.example.com/api", "variables": {"org": {"default": "api"}}}],
"paths": {
 "/users/{id}/reset": {"post": {"operationId": "reset", "security": [{"oauth": ["okta.roles.manage"]}]}},
 "/users/{id}/roles": {"post": {"operationId": "addRole"}, "get": {"operationId": "listRoles"}},
 "/users/{id}/photo": {"put": {"operationId": "putPhoto"}},
 "/users/{id}": {"patch": {"operationId": "patch"}},
 "/users/{id}/password": {"get": {"operationId": "readIt"}},
 "/notes/{id}": {"delete": {"operationId": "deleteNote", "security": [{"oauth": ["okta.roles.manage"]}]}},
 "/search": {"post": {"operationId": "search", "security": [{"oauth": ["users.read"]}]}}
}}`

const entries = `
 {"name": "reset", "method": "ACTION", "path": "/api/users/{user}/reset", "category": "credential_reset", "summary": "s", "undone": "u"},
 {"name": "profile", "method": "PATCH", "path": "/api/users/{user}", "when": [{"only": ["city"]}], "category": "ordinary_write"},
 {"name": "note", "method": "WRITE", "path": "/api/notes/**", "category": "ordinary_write"},
 {"name": "search", "method": "POST", "path": "/api/search", "category": "security_config", "summary": "s", "undone": "u"},
 {"name": "gone", "method": "POST", "path": "/api/users/{user}/gone", "category": "admin_privilege", "summary": "s", "undone": "u"},
 {"name": "elsewhere", "method": "POST", "path": "/scim/users", "category": "account_creation", "summary": "s", "undone": "u"}`

func TestADiffTellsWhatIsNewGoneAndMarkedOtherwise(t *testing.T) {
	r := diff(t, of(t, "demo", "api.example.com", "{}", entries), openAPI)
	for _, want := range []struct{ kind, method, path, looks, entry string }{
		{vendors.New, "POST", "/api/users/{id}/roles", "named role", ""},
		{vendors.New, "PUT", "/api/users/{id}/photo", "", ""},
		{vendors.New, "GET", "/api/users/{id}/password", "named password", ""},
		{vendors.Disagrees, "DELETE", "/api/notes/{id}", "okta.roles.manage", "note"},
		{vendors.Disagrees, "POST", "/api/users/{id}/reset", "okta.roles.manage", "reset"},
		{vendors.Disagrees, "POST", "/api/search", "", "search"},
		{vendors.Vanished, "POST", "/api/users/{user}/gone", "", "gone"},
	} {
		f := find(r, want.kind, want.method, want.path)
		if f == nil || f.Looks != want.looks || f.Entry != want.entry {
			t.Errorf("%s %s %s: %+v, want %+v", want.kind, want.method, want.path, f, want)
		}
	}
	if len(r.Findings) != 7 || r.Covered != 4 || r.Reads != 1 || r.Alarming() != 2 {
		t.Errorf("%d findings, %d covered, %d reads, %d alarming: %+v", len(r.Findings), r.Covered, r.Reads, r.Alarming(), r.Findings)
	}
	if f := find(r, vendors.Disagrees, "DELETE", "/api/notes/{id}"); f != nil && (f.Group != "/api/notes" || f.Want[0] != "admin_privilege" || f.File != "demo.json") {
		t.Errorf("finding = %+v", f)
	}
}

func TestYAMLAndJSONOfOneDescriptionAreTheSame(t *testing.T) {
	yaml := "openapi: 3.1.0\nservers: [{url: 'https://api.example.com/api'}]\npaths:\n  /users/{id}/roles: &a\n    post: {operationId: addRole}\n  /groups/{id}/roles: *a\n"
	r := diff(t, of(t, "demo", "api.example.com", "{}", entries), yaml)
	if r.Operations != 2 || find(r, vendors.New, "POST", "/api/groups/{id}/roles") == nil {
		t.Errorf("report = %+v", r)
	}
}

func TestGraphOperationsAreReadAsTheSidecarReadsThem(t *testing.T) {
	const sem = `{"fold_case": true, "keys": "odata", "versions": ["v1.0", "beta"], "namespaces": ["microsoft.graph."]}`
	o := of(t, "microsoft-graph", "graph.microsoft.com", sem, `
	 {"name": "app.key", "method": "ACTION", "path": "/applications/{app}/addKey", "category": "credential_reset", "summary": "s", "undone": "u"},
	 {"name": "role", "method": "WRITE", "path": "/directoryRoles/**", "category": "ordinary_write"}`)
	r := diff(t, o, `{"permissions": {
	 "Application.ReadWrite.All": {"schemes": {"Application": {"privilegeLevel": 3}}, "pathSets": [{"methods": ["POST"], "paths": {
	  "/applications(appId='{appId}')/microsoft.graph.addKey": "least=Application", "/applications(appId='{appId}'": ""}}]},
	 "RoleManagement.ReadWrite.Directory": {"schemes": {"Application": {"privilegeLevel": 4}}, "pathSets": [{"methods": ["POST"], "paths": {
	  "/directoryroles/{id}/members": "least=Application", "/serviceprincipals/{id}/newthing": "least=Application"}}]},
	 "Directory.Read.All": {"pathSets": [{"methods": ["POST"], "paths": {"/directoryroles/{id}/members": ""}}]}}}`)
	if f := find(r, vendors.New, "POST", "/serviceprincipals/{id}/newthing"); f == nil || f.Looks != "RoleManagement.ReadWrite.Directory" || f.Level != "least privileged: level 4" {
		t.Errorf("new = %+v", f)
	}
	if f := find(r, vendors.Disagrees, "POST", "/directoryroles/{id}/members"); f == nil || len(f.Scopes) != 1 {
		t.Errorf("disagrees = %+v", f)
	}
	if f := find(r, vendors.Unread, "POST", "/applications(appId='{appId}'"); f == nil || f.Why == "" {
		t.Errorf("unread = %+v", f)
	}
	if r.Covered != 2 {
		t.Errorf("Covered = %d, want 2: %+v", r.Covered, r.Findings)
	}
}

func TestAnAccessLevelOfAWSIsHeldAgainstTheCatalog(t *testing.T) {
	o := of(t, "aws", "*.amazonaws.com", `{"aws": {"rpc": ["iam"], "rest": ["lambda"]}}`, `
	 {"name": "work", "method": "ACTION", "path": "/action/iam/Put*", "category": "ordinary_write"},
	 {"name": "add.permission", "method": "POST", "path": "/rest/lambda/2015-03-31/functions/{f}/policy", "category": "permission_grant", "summary": "s", "undone": "u"}`)
	r := diff(t, o, `{"Name": "iam", "Actions": [
	 {"Name": "PutUserPolicy", "Annotations": {"Properties": {"IsPermissionManagement": true, "IsWrite": true}}},
	 {"Name": "Rename", "Annotations": {"Properties": {"IsWrite": true}}},
	 {"Name": "Widen", "Annotations": {"Properties": {"IsPermissionManagement": true}}}]}`)
	if f := find(r, vendors.Disagrees, "POST", "/action/iam/PutUserPolicy"); f == nil || f.Entry != "work" {
		t.Errorf("disagrees = %+v", f)
	}
	if f := find(r, vendors.New, "POST", "/action/iam/Widen"); f == nil || f.Looks != "Permissions management" || r.Alarming() != 1 {
		t.Errorf("new = %+v, %d alarming", f, r.Alarming())
	}
	r = diff(t, o, `{"metadata": {"endpointPrefix": "lambda"}, "operations": {
	 "AddPermission": {"http": {"method": "POST", "requestUri": "/2015-03-31/functions/{FunctionName}/policy"}},
	 "PublishLayerVersion": {"http": {"method": "POST", "requestUri": "/2018-10-31/layers/{LayerName+}/versions?x=1"}}}}`)
	if r.Covered != 1 || find(r, vendors.New, "POST", "/2018-10-31/layers/{LayerName}/versions") == nil {
		t.Errorf("lambda: %+v", r)
	}
	if r = diff(t, o, `{"Name": "lambda", "Actions": [{"Name": "Invoke"}]}`); r.Count(vendors.Unread) != 1 {
		t.Errorf("a reference of a service that goes by path: %+v", r)
	}
}

func TestAFileThatIsNoDescriptionIsRefused(t *testing.T) {
	deep := func(open, end string) string { return strings.Repeat(open, 300) + strings.Repeat(end, 300) }
	for about, text := range map[string]string{
		"empty":                  "",
		"blank":                  " \n\t",
		"another document":       `{"a": 1}`,
		"a list":                 "- a\n- b\n",
		"text":                   "hello",
		"bad JSON":               `{"openapi": "3.0.0",`,
		"something after":        `{"openapi": "3.0.0", "paths": {}} {}`,
		"deep JSON":              `{"openapi": "3.0.0", "x": ` + deep("[", "]") + `}`,
		"deep YAML":              "openapi: 3.0.0\nx: " + deep("[", "]"),
		"version 4":              `{"openapi": "4.0.0", "paths": {"/a": {"get": {}}}}`,
		"version 1":              `{"swagger": "1.2"}`,
		"version 30":             `{"openapi": "30.0", "paths": {"/a": {"get": {}}}}`,
		"no operations":          `{"openapi": "3.0.0", "paths": {}}`,
		"paths of another shape": `{"openapi": "3.0.0", "paths": [1]}`,
		"no service":             `{"smithy": "2.0", "shapes": {}}`,
		"actions of nobody":      `{"Actions": [{"Name": "x"}]}`,
		"YAML that blows up": "openapi: 3.0.0\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\npermissions: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nmetadata: {a: [*e,*e,*e,*e,*e,*e,*e,*e]}\n",
	} {
		if d, err := vendors.Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read as %s", about, d.Format)
		}
	}
	if _, err := vendors.Read(strings.NewReader(`{"a": 1}`)); !errors.Is(err, vendors.ErrUnknownFormat) {
		t.Errorf("error = %v, want ErrUnknownFormat", err)
	}
}

func TestTheAPIIsNamedOrToldByTheHost(t *testing.T) {
	o := of(t, "demo", "api.example.com", "{}", entries)
	d, err := vendors.Read(strings.NewReader(strings.Replace(openAPI, "example.com", "example.org", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vendors.Diff(t.Context(), o, d); err == nil || !strings.Contains(err.Error(), "--api") {
		t.Errorf("an unknown host: %v", err)
	}
	o.API = "nosuch"
	if _, err := vendors.Diff(t.Context(), o, d); err == nil || !strings.Contains(err.Error(), "demo") {
		t.Errorf("an unknown name: %v", err)
	}
	o.API = "demo"
	if r, err := vendors.Diff(t.Context(), o, d); err != nil || r.Covered != 4 {
		t.Errorf("by name: %+v, %v", r, err)
	}
	if _, err := vendors.Diff(t.Context(), vendors.Options{}, d); err == nil {
		t.Error("no catalog is no error")
	}
}

func TestAVendorsTextDoesNotSpeakToTheTerminal(t *testing.T) {
	text := strings.Replace(openAPI, `"title": "Demo"`, `"title": "De\u001b[31mmo\n"`, 1)
	text = strings.Replace(text, "/users/{id}/photo", `/users/{id}/pho\u001bto`, 1)
	r := diff(t, of(t, "demo", "api.example.com", "{}", entries), text)
	var table, lines bytes.Buffer
	if err := errors.Join(r.WriteTable(&table), r.WriteJSON(&lines)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(table.String(), "\x1b") || strings.Contains(lines.String(), "\x1b") {
		t.Errorf("an escape went through:\n%s%s", table.String(), lines.String())
	}
	last := ""
	for line := range strings.Lines(lines.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
		last = line
	}
	if !strings.Contains(last, `"kind":"summary"`) || !strings.Contains(last, `"vanished":1`) {
		t.Errorf("last line = %s", last)
	}
}
