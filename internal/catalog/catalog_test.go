package catalog_test

import (
	"os"
	"testing"

	"countersign/internal/catalog"
)

// shipped loads the catalog of the module.
func shipped(t testing.TB) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(os.DirFS("../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func graph(t testing.TB) *catalog.API {
	t.Helper()
	a, ok := shipped(t).ByHost("graph.microsoft.com")
	if !ok {
		t.Fatal("graph.microsoft.com is in no API")
	}
	return a
}

func TestShippedCatalogNamesAPasswordReset(t *testing.T) {
	m := graph(t).Match(catalog.Call{
		Method: "PATCH", Segments: []string{"users", "bob@contoso.com"}, BodyKind: "json",
		Body: map[string]any{"PasswordProfile": map[string]any{"Password": "x"}},
	})
	if m.Name != "user.password.reset" || !m.Sensitive || m.Summary != "Reset the password of bob@contoso.com" {
		t.Errorf("Match = %+v", m)
	}
	if len(m.Secrets) != 1 || m.Secrets[0][1] != "Password" {
		t.Errorf("Secrets = %q, want the body's own spelling", m.Secrets)
	}
}
