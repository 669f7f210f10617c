package intercept_test

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
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/proxy/intercept"
)

func TestTheCAIsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "ca")
	ca, err := intercept.LoadOrCreateCA(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := ca.Certificate()
	if !c.IsCA || !c.MaxPathLenZero || !strings.HasPrefix(c.Subject.CommonName, "Countersign interception CA ") || len(c.Subject.CommonName) > 64 {
		t.Errorf("certificate: IsCA %t, MaxPathLenZero %t, name %q", c.IsCA, c.MaxPathLenZero, c.Subject.CommonName)
	}
	if left := time.Until(c.NotAfter); left < 9*365*24*time.Hour {
		t.Errorf("it lives %v", left)
	}
	if key, ok := c.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key is %T", c.PublicKey)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "ca.key": 0o600, "ca.crt": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %q = %04o, want %04o", name, got, want)
		}
	}
	again, err := intercept.LoadOrCreateCA(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ca.CertPEM(), again.CertPEM()) {
		t.Error("a second start made another CA")
	}
	if names := list(t, dir); len(names) != 2 {
		t.Errorf("the directory holds %v", names)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRacingStartsEndWithOneCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var wg sync.WaitGroup
	got := make([]string, 16)
	for i := range got {
		wg.Go(func() {
			ca, err := intercept.LoadOrCreateCA(dir, nil)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = string(ca.CertPEM())
		})
	}
	wg.Wait()
	for i := range got {
		if got[i] != got[0] || got[i] == "" {
			t.Fatal("two starts have different CAs")
		}
	}
}

func TestAStartThatDiedHalfwayIsFinished(t *testing.T) {
	dir := t.TempDir()
	ca, err := intercept.LoadOrCreateCA(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	again, err := intercept.LoadOrCreateCA(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Certificate().PublicKey.(*ecdsa.PublicKey).Equal(ca.Certificate().PublicKey) {
		t.Error("the key was replaced")
	}
}

func TestACAThatIsNotSafeOrNotWholeIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"key readable by everybody": {func(d string) error { return os.Chmod(filepath.Join(d, "ca.key"), 0o644) }, "chmod 600"},
		"key lost":                  {func(d string) error { return os.Remove(filepath.Join(d, "ca.key")) }, "ca.key is not"},
		"key empty":                 {func(d string) error { return os.WriteFile(filepath.Join(d, "ca.key"), nil, 0o600) }, "no PEM private key"},
		"certificate empty":         {func(d string) error { return os.WriteFile(filepath.Join(d, "ca.crt"), nil, 0o600) }, "no PEM certificate"},
	} {
		dir := t.TempDir()
		if _, err := intercept.LoadOrCreateCA(dir, nil); err != nil {
			t.Fatal(err)
		}
		if err := tt.spoil(dir); err != nil {
			t.Fatal(err)
		}
		before := list(t, dir)
		_, err := intercept.LoadOrCreateCA(dir, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if after := list(t, dir); len(after) != len(before) {
			t.Errorf("%s: the directory went from %v to %v", name, before, after)
		}
	}
}

func TestAnExpiredCAIsRefusedAndNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if _, err := intercept.LoadOrCreateCA(dir, nil); err != nil {
		t.Fatal(err)
	}
	for years, want := range map[int]string{11: "expired", -1: "not valid before"} {
		_, err := intercept.LoadOrCreateCA(dir, func() time.Time { return time.Now().AddDate(years, 0, 0) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d years on: %v, want %q", years, err, want)
		}
	}
}

// authority makes a certificate and key as PEM; parent nil signs itself.
func authority(t *testing.T, change func(*x509.Certificate), parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (certPEM, keyPEM []byte, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: t.Name()}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	change(tmpl)
	if parent == nil {
		parent, parentKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), cert, key
}

func TestACAOfOnesOwnMustBeOne(t *testing.T) {
	same := func(*x509.Certificate) {}
	good, goodKey, _, _ := authority(t, same, nil, nil)
	if _, err := intercept.LoadCA(good, goodKey); err != nil {
		t.Fatalf("a good CA: %v", err)
	}
	leaf, leafKey, _, _ := authority(t, func(c *x509.Certificate) { c.IsCA = false }, nil, nil)
	mute, muteKey, _, _ := authority(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }, nil, nil)
	old, oldKey, _, _ := authority(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, nil, nil)
	sealed := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("secret")})
	for name, tt := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"no CA":         {leaf, leafKey, "not a certificate authority"},
		"may not sign":  {mute, muteKey, "may not sign"},
		"expired":       {old, oldKey, "expired"},
		"another's key": {good, leafKey, "does not belong"},
		"swapped":       {goodKey, good, "holds a EC PRIVATE KEY"},
		"locked key":    {good, sealed, "not an unencrypted"},
		"torn key":      {good, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}), "cannot be parsed"},
	} {
		_, err := intercept.LoadCA(tt.cert, tt.key)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestACAOfOnesOwnIsReadFromFiles(t *testing.T) {
	cert, key, _, _ := authority(t, func(*x509.Certificate) {}, nil, nil)
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	for path, text := range map[string][]byte{certPath: cert, keyPath: key} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := intercept.LoadCAFiles(certPath, keyPath); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(keyPath, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := intercept.LoadCAFiles(certPath, keyPath); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a readable key: %v", err)
	}
}
