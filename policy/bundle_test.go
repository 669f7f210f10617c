package policy_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/policy"
	"countersign/rego"
)

const bundledRule = "package countersign.rules\n\ndeny contains {\"code\": \"bundled\", \"text\": \"Bundled.\"} if input.operation.name == data.acme.frozen\n"

// keys are a private and its public key, PEM.
func keys(t *testing.T) (private, public string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

func build(t *testing.T, rule string, sign *policy.Signature) []byte {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "rules.rego", rule)
	write(t, dir, "rules_test.rego", "package countersign.rules_test\n\ntest_x if false\n")
	write(t, dir, "data.yaml", "acme: {frozen: user.password.reset}\ncountersign: {config: {others: allow}}\n")
	var out bytes.Buffer
	if _, err := policy.Build(t.Context(), policy.Sources{Base: rego.Policies(), Paths: []string{dir}}, sign, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// archive is a bundle as anybody may write it.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// shelf serves one bundle, which may be replaced.
type shelf struct {
	mu          sync.Mutex
	body        []byte
	status      int
	full, same  int // answers
	etag, token string
}

func (s *shelf) put(body []byte, etag string, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body, s.etag, s.status = body, etag, status
}

func (s *shelf) counts() (full, same int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full, s.same
}

// RoundTrip answers without a network.
func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("ETag", s.etag)
	switch {
	case s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token:
		w.WriteHeader(http.StatusUnauthorized)
	case s.status != http.StatusOK:
		w.WriteHeader(s.status)
	case s.etag != "" && r.Header.Get("If-None-Match") == s.etag:
		s.same++
		w.WriteHeader(http.StatusNotModified)
	default:
		s.full++
		_, _ = w.Write(s.body)
	}
	return w.Result(), nil
}

func bundled(s *shelf, key string) policy.Options {
	o := options()
	o.Bundle = &policy.Bundle{
		URL: "https://bundles.example.com/policy.tar.gz", Key: key, Algorithm: "ES256", AllowUnsigned: key == "", Polling: time.Minute,
		Client: &http.Client{Transport: s},
	}
	return o
}

func made(t *testing.T, o policy.Options) *policy.Engine {
	t.Helper()
	e, err := policy.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestASignedBundleDecides(t *testing.T) {
	private, public := keys(t)
	e := start(t, bundled(&shelf{body: build(t, bundledRule, &policy.Signature{Key: private, Algorithm: "ES256", KeyID: "k1"}), status: 200}, public))
	if d := decide(t, e, reset()); d.Effect != policy.Deny || codes(d)[0] != "bundled" {
		t.Errorf("Decide = %+v", d)
	}
}

// I1: what the bundle would have denied must not pass because it could not be had.
func TestABundleThatCannotBeTrustedLeavesNoPolicy(t *testing.T) {
	private, public := keys(t)
	other, _ := keys(t)
	good := build(t, bundledRule, &policy.Signature{Key: private, Algorithm: "ES256"})
	for name, s := range map[string]*shelf{
		"unsigned":             {body: build(t, bundledRule, nil), status: 200},
		"another key":          {body: build(t, bundledRule, &policy.Signature{Key: other, Algorithm: "ES256"}), status: 200},
		"the key as a secret":  {body: build(t, bundledRule, &policy.Signature{Key: public, Algorithm: "HS256"}), status: 200},
		"cut short":            {body: good[:len(good)-20], status: 200},
		"no bundle":            {body: []byte("<html>"), status: 200},
		"no server":            {status: 503},
		"a redirect":           {status: 302},
		"not modified, at all": {status: 304},
		"another token":        {body: good, status: 200, token: "x"},
	} {
		e := made(t, bundled(s, public))
		if _, err := e.Decide(t.Context(), read()); err == nil || e.Ready() == nil || e.Revision() != "" {
			t.Errorf("%s: Decide = %v, Ready = %v, want errors", name, err, e.Ready())
		}
	}
}

// I11 holds for bundles, signed or not.
func TestABundleThatReachesIntoOurPartIsRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"a module":              {"a.rego": "package countersign\nx := 1"},
		"data":                  {"countersign/settings/data.json": `{"unlisted_writes": "allow"}`},
		"data of the floor":     {"data.json": `{"countersign": {"held_categories": []}}`},
		"unknown config":        {"data.json": `{"countersign": {"config": {"othres": "deny"}}}`},
		"a deny that is no set": {"a.rego": "package countersign.rules\ndeny := true"},
		"network":               {"a.rego": "package countersign.rules\nx := http.send({})"},
		"wasm":                  {"policy.wasm": "x", "a.rego": "package countersign.rules\nx := 1"},
		"a patch":               {"patch.json": `{"data": []}`},
		"nothing":               {".manifest": `{"roots": ["acme"]}`},
	} {
		e := made(t, bundled(&shelf{body: archive(t, files), status: 200}, ""))
		if _, err := e.Decide(t.Context(), read()); err == nil || e.Ready() == nil {
			t.Errorf("%s: Decide = %v, Ready = %v, want errors", name, err, e.Ready())
		}
	}
	// Tests in a bundle are not loaded, whatever they are.
	start(t, bundled(&shelf{body: archive(t, map[string]string{
		"a.rego": bundledRule, "a_test.rego": "package countersign\n\ntest_x if true", "data.json": `{"acme": {"frozen": "x"}}`,
	}), status: 200}, ""))
}

func TestBundlesArePolledAndTheLastGoodOneStays(t *testing.T) {
	private, public := keys(t)
	sign := &policy.Signature{Key: private, Algorithm: "ES256"}
	first := build(t, bundledRule, sign)
	second := build(t, strings.ReplaceAll(bundledRule, `"bundled"`, `"second"`), sign)
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{body: first, status: 200, etag: `"1"`}
		var told []error
		o := bundled(s, public)
		o.Now = time.Now
		o.Loaded = func(_ string, err error) { told = append(told, err) }
		e := start(t, o)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Watch(ctx) }()
		wait := func() {
			time.Sleep(time.Minute) //nolint:forbidigo // the fake clock of synctest
			synctest.Wait()
		}
		says := func(code string, ready bool) {
			t.Helper()
			if d := decide(t, e, reset()); codes(d)[0] != code || (e.Ready() == nil) != ready {
				t.Errorf("decided %v, Ready = %v; want %s", codes(d), e.Ready(), code)
			}
		}
		wait()
		if full, same := s.counts(); full != 1 || same == 0 {
			t.Errorf("%d downloads and %d times nothing new, want 1 and some", full, same)
		}
		says("bundled", true)
		s.put(nil, "", 503)
		wait()
		says("bundled", false)
		s.put(build(t, bundledRule, nil), `"2"`, 200) // unsigned
		wait()
		says("bundled", false)
		s.put(second, `"3"`, 200)
		wait()
		says("second", true)
		if len(told) < 4 || told[1] == nil || told[len(told)-1] != nil {
			t.Errorf("told %v", told)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestTheLastGoodBundleSurvivesARestartAndIsVerifiedAgain(t *testing.T) {
	private, public := keys(t)
	s := &shelf{body: build(t, bundledRule, &policy.Signature{Key: private, Algorithm: "ES256"}), status: 200}
	o := bundled(s, public)
	o.Bundle.Dir = filepath.Join(t.TempDir(), "kept")
	start(t, o)
	s.put(nil, "", 500)
	e := made(t, o)
	if d := decide(t, e, reset()); codes(d)[0] != "bundled" || e.Ready() == nil {
		t.Errorf("Decide = %+v, Ready = %v: want the bundle of before, and to be told so", d, e.Ready())
	}
	if err := os.WriteFile(filepath.Join(o.Bundle.Dir, "bundle.tar.gz"), build(t, bundledRule, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := made(t, o).Decide(t.Context(), read()); err == nil {
		t.Error("a kept bundle that is not signed came into force")
	}
}

func TestSigningReplacesTheSignature(t *testing.T) {
	first, _ := keys(t)
	second, public := keys(t)
	var out bytes.Buffer
	err := policy.Sign(bytes.NewReader(build(t, bundledRule, &policy.Signature{Key: first, Algorithm: "ES256"})), policy.Signature{Key: second, Algorithm: "ES256"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	start(t, bundled(&shelf{body: out.Bytes(), status: 200}, public))
	for name, sign := range map[string]policy.Signature{"no key": {Algorithm: "ES256"}, "no algorithm": {Key: second, Algorithm: "none"}, "a key of another kind": {Key: second, Algorithm: "RS256"}} {
		if err := policy.Sign(bytes.NewReader(build(t, bundledRule, nil)), sign, io.Discard); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestABundleIsBuiltTheSameEveryTime(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "rules.rego", bundledRule)
	s := policy.Sources{Base: rego.Policies(), Paths: []string{dir}}
	one, err := policy.Build(t.Context(), s, nil, io.Discard)
	two, again := policy.Build(t.Context(), s, nil, io.Discard)
	if err != nil || again != nil || one != two || one == "" {
		t.Errorf("revisions %q and %q, %v, %v", one, two, err, again)
	}
	write(t, dir, "greedy.rego", "package countersign\nx := 1")
	if _, err := policy.Build(t.Context(), s, nil, io.Discard); err == nil {
		t.Error("a bundle that the sidecar refuses was built")
	}
}

func TestAWrongBundleConfigurationIsNamed(t *testing.T) {
	good := policy.Bundle{URL: "https://x.example.com/b", Key: "k", Algorithm: "HS256", Polling: time.Minute}
	for want, change := range map[string]func(*policy.Bundle){
		"":               func(*policy.Bundle) {},
		"url":            func(b *policy.Bundle) { b.URL = "http://x.example.com/b" },
		"key":            func(b *policy.Bundle) { b.Key = "" },
		"allow_unsigned": func(b *policy.Bundle) { b.AllowUnsigned = true },
		"algorithm":      func(b *policy.Bundle) { b.Algorithm = "none" },
		"polling":        func(b *policy.Bundle) { b.Polling = time.Millisecond },
	} {
		b := good
		change(&b)
		if field, problem := b.Check(); field != want {
			t.Errorf("Check = %s %s, want %q", field, problem, want)
		}
	}
}
