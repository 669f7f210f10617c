package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/config"
)

// load writes text to a file in a folder of its own and loads it.
func load(t *testing.T, text string) (config.Config, string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "sidecar.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := config.OS()
	env.Lookup = func(name string) (string, bool) { return "value of " + name, name != "UNSET" }
	c, err := config.Load(file, env)
	return c, dir, err
}

func TestAnEmptyFileGivesTheDefaultsNextToTheFile(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "listen:\n"} {
		c, dir, err := load(t, text)
		if err != nil {
			t.Fatal(err)
		}
		if c.Listen.Proxy != "127.0.0.1:8080" || c.Verification.Resume != 2*time.Minute || c.Limits.Body != 10<<20 {
			t.Errorf("%q: defaults are not the design's: %+v", text, c)
		}
		if want := filepath.Join(dir, "state", "journal.jsonl"); c.Journal.Path != want {
			t.Errorf("journal.path = %q, want %q", c.Journal.Path, want)
		}
	}
}

func TestWithoutAnyFileItStartsOnDefaults(t *testing.T) {
	t.Chdir(t.TempDir())
	c, err := config.Load("", config.OS())
	if err != nil || !filepath.IsAbs(c.TLS.CA.Dir) {
		t.Errorf("Load = %v, %v, want defaults with absolute paths", c.TLS, err)
	}
	if _, err := config.Load("named.yaml", config.OS()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a named file that is missing: %v, want ErrNotExist", err)
	}
}

func TestEveryProblemIsReportedAtOnceWithItsPath(t *testing.T) {
	_, _, err := load(t, `
listen: {proxy: nonsense, reverse: 127.0.0.1:8081, typo: x}
upstream: {timeout: soon, resolve: {Graph.microsoft.com: "1.2.3.4:443", graph.microsoft.com: here}}
requester: {trust: whatever, assertions: {issuer: x}}
verification: {providers: [duo, nobody], max_holds: many, budget: {per_15m: 0}}
providers:
  duo: {type: duo, host: api-1.duosecurity.com, username: mail}
  m365: {type: microsoft365}
notify: [{type: slack}]
limits: {body: 10MB, body: 1KiB}
ledger: {url: nats://a}
`)
	p, ok := errors.AsType[*config.Problems](err)
	if !ok {
		t.Fatalf("Load = %v, want *Problems", err)
	}
	var got []string
	for _, q := range p.List {
		got = append(got, q.Path)
	}
	slices.Sort(got)
	want := []string{
		"ledger.key", "limits.body", "limits.body", "listen.proxy", "listen.typo", "notify[0].url", "providers.duo.integration_key",
		"providers.duo.secret_key", "providers.duo.username", "providers.m365", "providers.m365.client_id", "providers.m365.connector",
		"providers.m365.tenant_id", "requester.assertions", "requester.trust",
		"upstream.resolve.Graph.microsoft.com", "upstream.resolve.graph.microsoft.com", "upstream.timeout",
		"verification.budget.per_15m", "verification.max_holds", "verification.providers[1]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems at\n%q, want\n%q", got, want)
	}
}

func TestReferencesAreExpandedAndMustBeWhole(t *testing.T) {
	for text, path := range map[string]string{
		`control: {token: "${env:UNSET}"}`:    "control.token: environment variable UNSET is not set",
		`control: {token: "${file:nowhere}"}`: "control.token: file nowhere cannot be read",
		`control: {token: "${vault:x}"}`:      "control.token: a reference is",
		`control: {token: "a ${env:X}"}`:      "control.token: a reference must be the whole value",
	} {
		if _, _, err := load(t, text); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", text, err, path)
		}
	}
	c, _, err := load(t, `control: {token: "${env:TOKEN}"}`)
	if err != nil || c.Control.Token.Reveal() != "value of TOKEN" {
		t.Errorf("token = %q, %v", c.Control.Token.Reveal(), err)
	}
}

func TestASecretNeverPrints(t *testing.T) {
	c, _, err := load(t, `
control: {token: s3cret}
providers: {duo: {type: duo, host: h, integration_key: i, secret_key: s3cret}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "s3cret") {
			t.Errorf("%s prints the secret", format)
		}
	}
	if _, _, err := load(t, "control: {token: [s3cret]}\nproviders: {duo: {type: duo, secret_key: {a: s3cret}}}"); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a problem prints the secret: %v", err)
	}
}

func TestProvidersAreUsedInTheFilesOrderUnlessNamed(t *testing.T) {
	one := "{type: duo, host: h, integration_key: i, secret_key: s}"
	c, _, err := load(t, "providers: {z: "+one+", a: "+one+"}")
	if got := c.ProviderNames(); err != nil || !slices.Equal(got, []string{"z", "a"}) {
		t.Errorf("ProviderNames = %v, %v, want [z a]", got, err)
	}
	c, _, err = load(t, "providers: {z: "+one+", a: "+one+"}\nverification: {providers: [a]}")
	if got := c.ProviderNames(); err != nil || !slices.Equal(got, []string{"a"}) {
		t.Errorf("ProviderNames = %v, %v, want [a]", got, err)
	}
}

func TestPlainRequesterHeadersNeedLoopbackListeners(t *testing.T) {
	_, _, err := load(t, "requester: {trust: asserted}\nlisten: {proxy: 0.0.0.0:8080}")
	if err == nil || !strings.Contains(err.Error(), "listen.proxy: must be a loopback address") {
		t.Errorf("Load = %v, want a refusal", err)
	}
	if _, _, err := load(t, "requester: {trust: asserted}"); err != nil {
		t.Errorf("loopback listeners are refused: %v", err)
	}
}

func TestAKeyOfAnotherTypeOfProviderIsAMistake(t *testing.T) {
	_, _, err := load(t, "providers: {duo: {type: duo, host: h, integration_key: i, secret_key: s, tenant_id: x, adapter: {interval: 3s}}}")
	for _, want := range []string{"providers.duo.tenant_id: does not belong", "providers.duo.adapter: does not belong"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load = %v, want %q", err, want)
		}
	}
}

func TestACertificateIsPEMTextOrItsFile(t *testing.T) {
	const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{file, `"${file:` + file + `}"`, `"` + strings.ReplaceAll(pem, "\n", `\n`) + `"`} {
		c, _, err := load(t, "providers: {m: {type: microsoft365, tenant_id: t, client_id: c, certificate: "+value+", connector: {certificate: "+value+"}}}")
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if got := c.Providers["m"].Certificate.Reveal(); strings.TrimSpace(got) != strings.TrimSpace(pem) {
			t.Errorf("%s: certificate = %q", value, got)
		}
	}
	_, _, err := load(t, "providers: {m: {type: microsoft365, tenant_id: t, client_id: c, certificate: nowhere.pem, connector: {secret: s}}}")
	if err == nil || !strings.Contains(err.Error(), "providers.m.certificate: file nowhere.pem cannot be read") {
		t.Errorf("Load = %v", err)
	}
}

func TestThePublicListenerNeedsTLSUnlessNobodyElseReachesIt(t *testing.T) {
	for text, want := range map[string]string{
		"listen: {callback: 127.0.0.1:8443}":                                             "",
		"listen: {callback: 0.0.0.0:8443}":                                               "listen.callback: needs tls.acme.domains",
		"listen: {callback: 0.0.0.0:8443}\ntls: {acme: {domains: [verify.contoso.com]}}": "",
		"listen: {callback: 0.0.0.0:8443}\ncallback: {cert: c.pem, key: k.pem}":          "callback.external_url: is missing",
		"listen: {callback: 0.0.0.0:8443}\ncallback: {cert: c.pem}":                      "needs cert and key together",
		"callback: {external_url: http://verify.contoso.com}":                            "must be an https URL",
	} {
		_, _, err := load(t, text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestASecretFromAFileSaysWhichSoThatItCanBeRotated(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := load(t, `control: {token: "${file:`+file+`}"}`)
	if err != nil || c.Control.Token.File() != file || c.Control.Token.Reveal() != "one" {
		t.Errorf("token %q of %q, %v", c.Control.Token.Reveal(), c.Control.Token.File(), err)
	}
	if c, _, err = load(t, "control: {token: one}"); err != nil || c.Control.Token.File() != "" {
		t.Errorf("a written token is from %q, %v", c.Control.Token.File(), err)
	}
}

func FuzzLoadNeverPanics(f *testing.F) {
	f.Add("listen: {proxy: 1}")
	f.Add("providers: {duo: {type: duo}}\n---\na: b")
	f.Add("a: &x [*x]")
	f.Fuzz(func(t *testing.T, text string) {
		env := config.Environment{
			Lookup:   func(string) (string, bool) { return "", false },
			ReadFile: func(string) ([]byte, error) { return []byte(text), nil },
		}
		if _, err := config.Load("f.yaml", env); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
