package app

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/config"
	"countersign/proxy/intercept"

	"software.sslmate.com/src/go-pkcs12"
)

// Trust is the interception CA seen from its clients' side: what they need to trust it.
type Trust struct {
	CertFile string
	ca       *intercept.CA
	proxy    string
	dir      string // where derived files go
}

// OpenTrust loads the CA that c names, making it if it is one of ours and not there yet.
func OpenTrust(c config.Config) (Trust, error) {
	ca, file, err := openCA(c)
	if err != nil {
		return Trust{}, err
	}
	return Trust{CertFile: file, ca: ca, proxy: c.Listen.Proxy, dir: filepath.Dir(file)}, nil
}

func openCA(c config.Config) (*intercept.CA, string, error) {
	if c.TLS.CA.Cert != "" {
		ca, err := intercept.LoadCAFiles(c.TLS.CA.Cert, c.TLS.CA.Key)
		return ca, c.TLS.CA.Cert, err
	}
	ca, err := intercept.LoadOrCreateCA(c.TLS.CA.Dir, time.Now)
	return ca, filepath.Join(c.TLS.CA.Dir, "ca.crt"), err
}

// Show prints the certificate and what it says.
func (t Trust) Show(w io.Writer) error {
	cert := t.ca.Certificate()
	_, err := fmt.Fprintf(w, "file: %s\nsubject: %s\nvalid: %s to %s\nsha-256: %x\n\n%s", t.CertFile, cert.Subject,
		cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339), sha256.Sum256(cert.Raw), t.ca.CertPEM())
	return err
}

// storePassword opens Java's own trust stores; there is nothing secret in them.
const storePassword = "changeit"

// Env prints shell assignments that send clients through the proxy and make them trust the CA. Most clients
// replace their roots by the file they are told of, so it writes bundles of the system's roots and the CA beside ca.crt.
func (t Trust) Env(out, warn io.Writer) error {
	roots := systemRoots()
	if len(roots) == 0 {
		fmt.Fprintln(warn, "countersign: no system roots found; the bundles hold the interception CA alone, so tunnelled hosts will not verify")
	}
	bundle := filepath.Join(t.dir, "ca-bundle.crt")
	if err := writeFile(bundle, append(bytes.TrimSpace(roots), append([]byte("\n"), t.ca.CertPEM()...)...)); err != nil {
		return err
	}
	store := filepath.Join(t.dir, "ca-bundle.p12")
	p12, err := trustStore(roots, t.ca.Certificate())
	if err == nil {
		err = writeFile(store, p12)
	}
	if err != nil {
		return err
	}
	vars := []struct{ name, value, who string }{
		{"SSL_CERT_FILE", bundle, "Go, OpenSSL, Python's ssl, Ruby"},
		{"CURL_CA_BUNDLE", bundle, "curl"},
		{"REQUESTS_CA_BUNDLE", bundle, "Python's requests"},
		{"AWS_CA_BUNDLE", bundle, "AWS SDKs and CLI"},
		{"GIT_SSL_CAINFO", bundle, "git"},
		{"NODE_EXTRA_CA_CERTS", t.CertFile, "Node, on top of its own roots"},
		{"NODE_USE_ENV_PROXY", "1", "Node's fetch: HTTPS_PROXY counts, from Node 24 on"},
		{"JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=" + store + " -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=" + storePassword + t.javaProxy(), "Java"},
	}
	if t.proxy != "" {
		fmt.Fprintf(out, "export HTTPS_PROXY=%s https_proxy=%s\n", quote("http://"+t.proxy), quote("http://"+t.proxy))
	}
	for _, v := range vars {
		if _, err := fmt.Fprintf(out, "export %s=%s # %s\n", v.name, quote(v.value), v.who); err != nil {
			return err
		}
	}
	return nil
}

// javaProxy has the system properties that stand in for HTTPS_PROXY, which Java does not read.
func (t Trust) javaProxy() string {
	host, port, ok := strings.Cut(t.proxy, ":")
	if !ok {
		return ""
	}
	return " -Dhttps.proxyHost=" + host + " -Dhttps.proxyPort=" + port
}

// quote makes s one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// systemRoots returns the system's roots as PEM, from where the common distributions keep them.
func systemRoots() []byte {
	for _, file := range []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	} {
		if b, err := os.ReadFile(file); err == nil && len(b) < 8<<20 {
			return b
		}
	}
	return nil
}

// trustStore makes a PKCS#12 store of roots and the CA. What does not parse is left out, as TLS libraries do.
func trustStore(roots []byte, ca *x509.Certificate) ([]byte, error) {
	entries := []pkcs12.TrustStoreEntry{{Cert: ca, FriendlyName: "countersign"}}
	for block, rest := pem.Decode(roots); block != nil; block, rest = pem.Decode(rest) {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			entries = append(entries, pkcs12.TrustStoreEntry{Cert: cert, FriendlyName: fmt.Sprintf("root-%d", len(entries))})
		}
	}
	p12, err := pkcs12.Modern.EncodeTrustStoreEntries(entries, storePassword)
	if err != nil {
		return nil, fmt.Errorf("make Java trust store: %w", err)
	}
	return p12, nil
}

// writeFile replaces a public file in one step, so that a client never reads half of it.
func writeFile(name string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when all went well
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
