package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

func TestACustomMethodIsFoundInTheSegmentOfWhatItActsOn(t *testing.T) {
	a := load(t, `"entries": [
 {"name": "policy.set", "method": "POST", "path": "/v1/projects/{project}:setIamPolicy", "category": "permission_grant", "resource": "project", "summary": "Grant on {project}", "undone": "x"},
 {"name": "project.write", "method": "WRITE", "path": "/v1/projects/{project}", "category": "ordinary_write"},
 {"name": "project.children", "method": "WRITE", "path": "/v1/projects/**", "category": "ordinary_write"},
 {"name": "policy.read", "method": "POST", "path": "/v1/projects/{project}:getIamPolicy", "category": "read"}]`)
	for _, c := range []struct{ method, path, name, id string }{
		{"POST", "/v1/projects/p1:setIamPolicy", "policy.set", "p1"},
		{"POST", "/v1/projects/P1:SetIAMPolicy", "policy.set", "P1"},
		{"POST", "/v1/projects/example.com:p1:setIamPolicy", "policy.set", "example.com:p1"},
		{"POST", "/v1/projects/:setIamPolicy", "policy.set", ""},
		{"POST", "/v1/projects/p1:getIamPolicy", "policy.read", ""},
		{"POST", "/v1/projects/p1:undelete", "project.write", ""},
		{"POST", "/v1/projects/p1:setIamPolicy:undelete", "project.write", ""},
		{"PUT", "/v1/projects/p1/setIamPolicy", "project.children", ""},
	} {
		m := a.Match(call(c.method, c.path, nil))
		if m.Name != c.name || m.ResourceID != c.id {
			t.Errorf("%s %s: %s of %q, want %s of %q", c.method, c.path, m.Name, m.ResourceID, c.name, c.id)
		}
		if m.Sensitive != (m.Category == catalog.PermissionGrant) {
			t.Errorf("%s %s: Sensitive = %v", c.method, c.path, m.Sensitive)
		}
	}
}
