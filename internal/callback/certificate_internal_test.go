package callback

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// pair writes a new certificate and its key, and returns the certificate.
func pair(t *testing.T, f Files, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{f.Cert: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return der
}

// touch dates a file: clocks of file systems are coarse.
func touch(t *testing.T, at time.Time, files ...string) {
	t.Helper()
	for _, f := range files {
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACertificateThatChangesIsServedAndABadOneIsNot(t *testing.T) {
	dir := t.TempDir()
	f := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	synctest.Test(t, func(t *testing.T) {
		if _, err := f.Config(); err == nil {
			t.Fatal("files that are not there are taken")
		}
		first := pair(t, f, "first")
		touch(t, time.Now(), f.Cert, f.Key)
		c, err := f.Config()
		if err != nil {
			t.Fatal(err)
		}
		served := func() []byte {
			cert, err := c.GetCertificate(nil)
			if err != nil {
				t.Fatal(err)
			}
			return cert.Certificate[0]
		}
		next := func() { time.Sleep(reread) } //nolint:forbidigo // the bubble's clock
		if !bytes.Equal(served(), first) {
			t.Fatal("another certificate is served")
		}

		second := pair(t, f, "second")
		touch(t, time.Now().Add(time.Second), f.Cert, f.Key)
		if !bytes.Equal(served(), first) {
			t.Error("the files are read at every handshake")
		}
		next()
		if !bytes.Equal(served(), second) {
			t.Error("the new certificate is not served")
		}

		kept, err := os.ReadFile(f.Key)
		if err != nil {
			t.Fatal(err)
		}
		pair(t, f, "third")
		if err := os.WriteFile(f.Key, kept, 0o600); err != nil { // half replaced: the key belongs to another certificate
			t.Fatal(err)
		}
		touch(t, time.Now().Add(2*time.Second), f.Cert, f.Key)
		next()
		if !bytes.Equal(served(), second) {
			t.Error("a certificate without its key is served")
		}
		if err := os.Remove(f.Cert); err != nil {
			t.Fatal(err)
		}
		next()
		if !bytes.Equal(served(), second) {
			t.Error("a file that is gone takes the listener down")
		}
		fourth := pair(t, f, "fourth")
		touch(t, time.Now().Add(3*time.Second), f.Cert, f.Key)
		next()
		if !bytes.Equal(served(), fourth) {
			t.Error("the certificate that came after is not served")
		}
	})
}
