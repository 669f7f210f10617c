package signin_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers/microsoft365/signin"
)

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// answered asks, answers, and expects the approval to count.
func (r *rig) answered() {
	r.Helper()
	v := r.open()
	if err := v.Check(r.Context()); err != nil {
		r.Errorf("Check = %v, want nil", err)
	}
	r.browser().answer(r.ask(v), "approve", alice).shows(r.T, http.StatusOK, "Approved")
	for _, req := range r.sim.Received(entra.Login, "/token") {
		if strings.Contains(string(req.Body), "client_secret=") {
			r.Errorf("a secret was sent: %s", req.Body)
		}
	}
}

func TestACertificateStandsForTheApplication(t *testing.T) {
	r := newRig(t)
	key := rsaKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "countersign"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.sim.AddApp(entra.App{ClientID: entra.DefaultClientID, Certificates: []*x509.Certificate{cert}, RedirectURIs: []string{callback}}); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	r.o.ClientSecret, r.o.Certificate = "", signin.Secret(text)
	r.answered()
}

func TestAPlatformsTokenStandsForTheApplication(t *testing.T) {
	r := newRig(t)
	key, file := rsaKey(t), filepath.Join(t.TempDir(), "token")
	if err := r.sim.AddApp(entra.App{ClientID: entra.DefaultClientID, RedirectURIs: []string{callback}, Federated: []entra.Federated{{
		Issuer: "https://cluster.example.com", Subject: "system:serviceaccount:it:countersign", Keys: []crypto.PublicKey{key.Public()},
	}}}); err != nil {
		t.Fatal(err)
	}
	r.o.ClientSecret, r.o.TokenFile = "", file
	if err := r.open().Check(t.Context()); err == nil {
		t.Errorf("Check = nil without a token")
	}
	if err := os.WriteFile(file, []byte("  \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.open().Check(t.Context()); err == nil || !strings.Contains(err.Error(), "empty or too long") {
		t.Errorf("Check = %v with an empty token", err)
	}
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + part(map[string]any{
		"iss": "https://cluster.example.com", "sub": "system:serviceaccount:it:countersign", "aud": "api://AzureADTokenExchange",
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(input+"."+base64.RawURLEncoding.EncodeToString(sig)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.answered()
}
