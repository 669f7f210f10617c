package catalog_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
)

func TestEveryProblemIsReportedWithItsFileAndEntry(t *testing.T) {
	entry := func(s string) string {
		return `{"api": "a", "hosts": ["a.example.com"], "entries": [` + s + `]}`
	}
	_, err := catalog.Load(fstest.MapFS{
		"unknown.json":  {Data: []byte(entry(`{"name": "x", "methods": "POST"}`))},
		"twice.json":    {Data: []byte(`{"api": "b", "api": "c"}`)},
		"trailing.json": {Data: []byte(`{"api": "d", "hosts": ["d.example.com"]} {}`)},
		"nohosts.json":  {Data: []byte(`{"api": "e"}`)},
		"noapi.json":    {Data: []byte(`{}`)},
		"host.json":     {Data: []byte(`{"api": "f", "hosts": ["F.example.com", "*", "*.com:443", "ok.example.com"]}`)},
		"same.json":     {Data: []byte(`{"api": "g", "hosts": ["ok.example.com"]}`)},
		"entries.json": {Data: []byte(`{"api": "h", "hosts": ["h.example.com"], "entries": [
			{"method": "POST", "path": "/a", "category": "read"},
			{"name": "category", "method": "POST", "path": "/a", "category": "nice"},
			{"name": "method", "method": "FETCH", "path": "/a", "category": "read"},
			{"name": "path", "method": "POST", "path": "a/", "category": "read"},
			{"name": "stars", "method": "POST", "path": "/**/a/**/b/**/c/**", "category": "read"},
			{"name": "root", "method": "POST", "path": "@nobody/a", "category": "read"},
			{"name": "words", "method": "POST", "path": "/a", "category": "credential_reset"},
			{"name": "hole", "method": "POST", "path": "/a", "category": "read", "summary": "of {nothing}"},
			{"name": "when", "method": "POST", "path": "/a", "category": "read", "when": [{"has": ["a"], "only": ["b"]}]},
			{"name": "empty", "method": "POST", "path": "/a", "category": "read", "when": [{}]},
			{"name": "mark", "method": "POST", "path": "/a", "category": "ordinary_write", "sensitive": true},
			{"name": "wide", "method": "WRITE", "path": "/p/**", "category": "security_config", "summary": "s", "undone": "u"},
			{"name": "dead", "method": "POST", "path": "/p/q", "category": "ordinary_write"},
			{"name": "outside", "method": "POST", "path": "/q", "category": "ordinary_write", "inside": "wide"},
			{"name": "same", "method": "POST", "path": "/p/**", "category": "ordinary_write", "inside": "wide"}]}`)},
	})
	if err == nil {
		t.Fatal("Load accepted a broken catalog")
	}
	for _, want := range []string{
		`unknown.json: decode: json: unknown field "methods"`, `twice.json: decode: key "api" stands twice`,
		"trailing.json: decode: something follows", "e: no file gives its hosts", "noapi.json: api is missing",
		`host.json: host "F.example.com"`, `host.json: host "*"`, `host.json: host "*.com:443"`, "same.json: host ok.example.com is already",
		"entries.json: entry number 0: name is missing", `entry category: category "nice"`, `entry method: method "FETCH"`,
		"entry path: path", "entry stars: path", "entry root: root @nobody", "entry words: a sensitive entry needs summary",
		"entry hole: {nothing}", "entry when: when:", "entry empty: when:", "entry mark: sensitive is for category read",
		"entry dead: /p/q is never reached", "entry outside: /q is not strictly inside", "entry same: /p/** is not strictly inside",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Load does not say %q in:\n%v", want, err)
		}
	}
}

func TestLoadNeedsAFile(t *testing.T) {
	if _, err := catalog.Load(fstest.MapFS{}); err == nil {
		t.Error("Load accepted an empty folder")
	}
}

func TestFilesOfOneAPIAreMerged(t *testing.T) {
	c, err := catalog.Load(fstest.MapFS{
		"a.json":      {Data: []byte(`{"api": "a", "hosts": ["a.example.com", "*.a.example.net"], "roots": {"@x": ["/x"]}}`)},
		"a.more.json": {Data: []byte(`{"api": "a", "entries": [{"name": "y", "method": "POST", "path": "@x/y", "category": "ordinary_write"}]}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"a.example.com": true, "x.a.example.net": true, "y.x.a.example.net": true,
		"a.example.net": false, "b.example.com": false, "xa.example.net": false, "": false,
	} {
		if _, ok := c.ByHost(host); ok != want {
			t.Errorf("ByHost(%q) = %v, want %v", host, ok, want)
		}
	}
	a, _ := c.ByHost("a.example.com")
	if m := a.Match(call("POST", "/x/y", nil)); m.Name != "y" || a.Name() != "a" {
		t.Errorf("Match = %+v in %s", m, a.Name())
	}
	if got := strings.Join(c.Hosts(), " "); got != "*.a.example.net a.example.com" {
		t.Errorf("Hosts = %s", got)
	}
}
