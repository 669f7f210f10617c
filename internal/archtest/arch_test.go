// Package archtest holds the import map of the module: who may import whom, and which package owns which library.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "countersign"

// allowed lists, for every package, which packages of this module its non-test files may import. The direction is
// cmd → app → {proxy, control} → hold → {policy, providers}; policy and providers import none of ours, and simulators
// import no provider, so that a shared mistake shows.
var allowed = map[string][]string{
	"policy":              {},
	"providers":           {},
	"rego":                {},
	"internal/catalog":    {},
	"internal/operation":  {"policy", "internal/catalog"},
	"internal/audit":      {"policy"},
	"internal/requester":  {"policy"},
	"internal/refusal":    {},
	"internal/config":     {},
	"internal/hold":       {"policy", "providers", "internal/audit"},
	"internal/ledger":     {"internal/hold"},
	"providers/duo":       {"providers"},
	"internal/control":    {"policy", "internal/hold", "internal/refusal", "internal/requester"},
	"proxy/intercept":     {"internal/zaplog"},
	"internal/zaplog":     {},
	"internal/callback":   {"providers", "internal/zaplog"},
	"proxy/upstream":      {},
	"proxy":               {"policy", "proxy/intercept", "proxy/upstream", "internal/operation", "internal/hold", "internal/audit", "internal/refusal", "internal/requester"},
	"internal/sim/duo":    {},
	"internal/sim/graph":  {},
	"internal/archtest":   {},
	"examples/quickstart": {"internal/app/demo"},
	"examples/notify":     {},

	"providers/providertest":    {"providers"},
	"internal/ledger/storetest": {"internal/hold"},
	"internal/catalog/vendors":  {"internal/catalog", "internal/operation"},

	"providers/microsoft365":            {"providers", "providers/microsoft365/strongauth"},
	"providers/microsoft365/signin":     {"providers"},
	"providers/microsoft365/strongauth": {"providers"},
	"providers/traceless":               {"providers"},
	"internal/sim/entra":                {},
	"internal/sim/traceless":            {},
	"internal/notify":                   {},
	"internal/decisionlog":              {"policy"},
	"internal/holdmodel":                {"policy", "providers", "internal/hold"},
}

// wiring packages may import anything of ours.
var wiring = []string{"internal/app", "internal/app/demo", "internal/app/microsoft365", "cmd/countersign", "internal/e2e"}

// owners lists, for every library with an owner, the only packages that may import it. A new dependency is added here.
var owners = map[string][]string{
	"github.com/open-policy-agent/opa":              {"policy", "rego"},
	"github.com/caddyserver/certmagic":              {"proxy/intercept", "internal/callback"},
	"github.com/mholt/acmez/v3":                     {"internal/callback"},
	"github.com/letsencrypt/pebble/v2":              {"internal/callback"},
	"github.com/miekg/dns":                          {"internal/callback"},
	"github.com/duosecurity/duo_api_golang":         {"providers/duo"},
	"github.com/microsoftgraph/msgraph-sdk-go":      {"internal/e2e", "providers/microsoft365"},
	"github.com/Azure/azure-sdk-for-go":             {"internal/e2e", "providers/microsoft365"},
	"github.com/coreos/go-oidc/v3":                  {"providers/microsoft365/signin"},
	"github.com/golang-jwt/jwt/v5":                  {"providers/microsoft365"},
	"github.com/santhosh-tekuri/jsonschema/v6":      {"internal/control"},
	"github.com/nats-io":                            {"internal/ledger", "internal/e2e"},
	"github.com/spf13/cobra":                        {"cmd/countersign"},
	"go.yaml.in/yaml/v3":                            {"internal/config", "policy", "internal/catalog/vendors"},
	"github.com/go-jose/go-jose/v4":                 {"internal/requester"},
	"github.com/klauspost/compress":                 {"internal/operation"},
	"github.com/andybalholm/brotli":                 {"internal/operation"},
	"github.com/vektah/gqlparser/v2":                {"internal/operation"},
	"github.com/prometheus/client_golang":           {"internal/control"},
	"github.com/fsnotify/fsnotify":                  {"policy"},
	"github.com/rogpeppe/go-internal":               {"cmd/countersign"},
	"github.com/microsoft":                          {"internal/e2e", "providers/microsoft365"},
	"software.sslmate.com/src/go-pkcs12":            {"internal/app"},
	"github.com/microsoftgraph/msgraph-sdk-go-core": {"internal/e2e", "providers/microsoft365"},
	"go.uber.org/zap":                               {"internal/zaplog"},
	"github.com/libdns":                             {},
	"golang.org/x/":                                 {"*"},
}

func TestImportsFollowTheMap(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, file) // both come from the same walk
		rel = filepath.ToSlash(rel)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "testdata" || d.Name() == "node_modules" || rel == "bin" || rel == "dist") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(rel, ".go") {
			return nil
		}
		pkg := path.Dir(rel)
		if !seen[pkg] {
			seen[pkg] = true
			if _, ok := allowed[pkg]; !ok && !slices.Contains(wiring, pkg) {
				t.Errorf("package %s is not in the import map: say what it may import", pkg)
			}
		}
		checkFile(t, file, pkg, strings.HasSuffix(rel, "_test.go"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, file, pkg string, test bool) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Error(err)
		return
	}
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Error(err)
			continue
		}
		ours, isOurs := strings.CutPrefix(imp, module+"/")
		switch {
		case isOurs && (test || slices.Contains(wiring, pkg)):
		case isOurs:
			if !slices.Contains(allowed[pkg], ours) {
				t.Errorf("%s imports %s, which the map does not allow", file, imp)
			}
		case strings.Contains(strings.Split(imp, "/")[0], "."):
			if who := owner(imp); who == nil {
				t.Errorf("%s imports %s, which has no owner", file, imp)
			} else if !slices.Contains(who, pkg) && !slices.Contains(who, "*") {
				t.Errorf("%s imports %s, which belongs to %v", file, imp, who)
			}
		}
	}
}

// owner returns who owns the longest matching library path; nil when nobody does.
func owner(imp string) []string {
	var best string
	for lib := range owners {
		if (imp == lib || strings.HasPrefix(imp, strings.TrimSuffix(lib, "/")+"/")) && len(lib) > len(best) {
			best = lib
		}
	}
	return owners[best]
}
