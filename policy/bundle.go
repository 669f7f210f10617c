package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
)

// Algorithms are those that a bundle may be signed with, JWS names.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512"}

// keyName stands for the one key there is. A signature that names another key is checked with this one all the same.
const keyName = "countersign"

// readBundle reads and verifies a bundle, and returns its files as if they lay in a directory, so that the same
// rules hold for both (invariant I11). Without a key nothing is verified.
func readBundle(raw []byte, key, algorithm string) (found []source, err error) {
	defer func() {
		if p := recover(); p != nil { // the parser reads what a server sent
			found, err = nil, fmt.Errorf("panic while reading: %v", p)
		}
	}()
	reader := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(raw), "")).
		WithSizeLimitBytes(maxFileBytes).WithLazyLoadingMode(false).WithCapabilities(capabilities()).WithRegoVersion(ast.RegoV1)
	if key == "" {
		reader = reader.WithSkipBundleVerification(true)
	} else {
		keys := map[string]*bundle.KeyConfig{keyName: {Key: key, Algorithm: algorithm}}
		reader = reader.WithBundleVerificationConfig(bundle.NewVerificationConfig(keys, keyName, "", nil))
	}
	b, err := reader.Read()
	if err != nil {
		return nil, err
	}
	switch {
	case b.Type() != bundle.SnapshotBundleType:
		return nil, errors.New("a delta bundle: only whole ones are taken")
	case len(b.WasmModules) > 0 || len(b.PlanModules) > 0:
		return nil, errors.New("it holds compiled policy (wasm or plan): only Rego is taken")
	case len(b.Modules) > maxFiles:
		return nil, fmt.Errorf("more than %d policy files", maxFiles)
	}
	size := 0
	for _, m := range b.Modules {
		name := strings.TrimPrefix(m.Path, "/")
		size += len(m.Raw)
		if s := (source{name: "bundle/" + name, file: "bundle:" + name, body: m.Raw}); !s.test() {
			found = append(found, s)
		}
	}
	if len(b.Data) > 0 {
		text, err := json.Marshal(b.Data)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		size += len(text)
		found = append(found, source{name: "bundle/data.json", file: "bundle:data.json", body: text})
	}
	if size > maxAllBytes {
		return nil, fmt.Errorf("policy files of more than %d bytes together", maxAllBytes)
	}
	if len(found) == 0 {
		return nil, errors.New("no policy file in it") // as for an empty directory
	}
	slices.SortFunc(found, func(a, b source) int { return strings.Compare(a.name, b.name) })
	return found, nil
}

// Signature says how a bundle is signed. Key is the PEM text of a private key, or the secret of an HS algorithm.
type Signature struct {
	Key       string
	Algorithm string
	KeyID     string // named in the signature, for servers and other OPAs
}

// Build writes a bundle of customers' files, tests left out, after it has compiled them with the built-in policy. It
// returns the bundle's revision, a hash of its content. With a signature, the bundle is signed.
func Build(ctx context.Context, s Sources, sign *Signature, w io.Writer) (string, error) {
	base, custom, settings, err := s.read()
	if err != nil {
		return "", err
	}
	custom = slices.DeleteFunc(custom, source.test)
	if _, err := compile(ctx, base, custom, settings); err != nil {
		return "", err
	}
	data, err := readData(custom)
	if err != nil {
		return "", err
	}
	if len(custom) == 0 {
		return "", errors.New("no policy file")
	}
	revision := revisionOf(nil, custom, nil)
	b := bundle.Bundle{Data: data, Manifest: bundle.Manifest{Revision: revision}}
	roots := map[string]bool{}
	addDataRoots(roots, data)
	for _, s := range custom {
		if !s.module() {
			continue
		}
		m, err := ast.ParseModuleWithOpts(s.file, string(s.body), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: capabilities()})
		if err != nil {
			return "", err
		}
		roots[strings.Join(packagePath(m.Package), "/")] = true
		path := "/" + s.name
		b.Modules = append(b.Modules, bundle.ModuleFile{URL: path, Path: path, RelativePath: path, Raw: s.body, Parsed: m})
	}
	list := outermost(slices.Sorted(maps.Keys(roots)))
	b.Manifest.Roots = &list
	b.Manifest.SetRegoVersion(ast.RegoV1)
	return revision, writeBundle(b, sign, w)
}

// Sign writes a bundle again, with a signature in place of any that it has.
func Sign(in io.Reader, sign Signature, w io.Writer) error {
	raw, err := io.ReadAll(io.LimitReader(in, maxAllBytes+1))
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	if len(raw) > maxAllBytes {
		return fmt.Errorf("bundle of more than %d bytes", maxAllBytes)
	}
	b, err := bundle.NewCustomReader(bundle.NewTarballLoaderWithBaseURL(bytes.NewReader(raw), "")).WithSizeLimitBytes(maxFileBytes).
		WithLazyLoadingMode(false).WithSkipBundleVerification(true).WithRegoVersion(ast.RegoV1).Read()
	if err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	if b.Type() != bundle.SnapshotBundleType {
		return errors.New("a delta bundle cannot be signed")
	}
	return writeBundle(b, &sign, w)
}

func writeBundle(b bundle.Bundle, sign *Signature, w io.Writer) error {
	if sign != nil {
		if sign.Key == "" || !slices.Contains(Algorithms, sign.Algorithm) {
			return fmt.Errorf("sign bundle: want a key, and an algorithm that is one of %s", strings.Join(Algorithms, ", "))
		}
		b.Signatures = bundle.SignaturesConfig{}
		if err := b.GenerateSignature(bundle.NewSigningConfig(sign.Key, sign.Algorithm, ""), sign.KeyID, true); err != nil {
			return fmt.Errorf("sign bundle: %w", err)
		}
	}
	// What is signed is what was written, to the letter.
	if err := bundle.NewWriter(w).UseModulePath(true).DisableFormat(true).Write(b); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// addDataRoots names what data defines: the top-level keys, and below our own key the parts that are customers'.
func addDataRoots(roots map[string]bool, data map[string]any) {
	for key, v := range data {
		part, isObject := v.(map[string]any)
		if key != "countersign" || !isObject {
			roots[key] = true
			continue
		}
		for name := range part {
			roots[key+"/"+name] = true
		}
	}
}

// outermost drops what lies inside another root: roots may not overlap.
func outermost(roots []string) []string {
	var out []string
	for _, r := range roots { // sorted: what lies outside comes first
		if !slices.ContainsFunc(out, func(o string) bool { return r == o || strings.HasPrefix(r, o+"/") }) {
			out = append(out, r)
		}
	}
	return out
}
