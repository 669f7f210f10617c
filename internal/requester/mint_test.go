package requester_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/requester"

	"github.com/go-jose/go-jose/v4"
)

func TestWhatIsMintedIsAccepted(t *testing.T) {
	for _, kind := range []string{"", requester.ES256, requester.EdDSA} {
		t.Run("kind "+kind, func(t *testing.T) {
			key, err := requester.GenerateKey(kind)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "keys")
			if err := requester.WriteKeys(dir, key); err != nil {
				t.Fatal(err)
			}
			loaded, err := requester.LoadKey(filepath.Join(dir, requester.KeyFile))
			if err != nil || loaded.ID() != key.ID() {
				t.Fatalf("LoadKey = %s, %v; want %s", loaded.ID(), err, key.ID())
			}
			token, err := requester.Mint(requester.MintOptions{Key: loaded, Issuer: issuer, Audience: audience, Subject: "Alice@contoso.com",
				Ticket: "T-1", Channel: "chat", Agent: "a", OID: "o", TID: "t", Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			i := newIdentifier(t, func(o *requester.Options) { o.JWKS = filepath.Join(dir, requester.JWKSFile) })
			id := i.Identify(t.Context(), assertion(token), nil)
			wantAlice(t, id)
			if s := id.Subject; s.Ticket != "T-1" || id.Channel != "chat" || s.Agent != "a" || s.Requester.ObjectID != "o" || s.Requester.TenantID != "t" || len(id.JTI) != 32 {
				t.Errorf("Identify = %+v", id)
			}
		})
	}
}

func TestWriteKeysOverwritesNothing(t *testing.T) {
	key, err := requester.GenerateKey("")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := requester.WriteKeys(dir, key); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, requester.KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v", info.Mode(), err)
	}
	before, err := os.ReadFile(filepath.Join(dir, requester.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := requester.WriteKeys(dir, key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteKeys = %v, want ErrExist", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, requester.KeyFile))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the key changed: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, requester.KeyFile)); err != nil {
		t.Fatal(err)
	}
	if err := requester.WriteKeys(dir, key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteKeys beside a JWKS = %v, want ErrExist", err)
	}
	if _, err := os.Stat(filepath.Join(dir, requester.KeyFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a pair was left: %v", err)
	}
}

func TestKeysOfOtherToolsAreRead(t *testing.T) {
	block := func(name string, der []byte, err error) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: must(der, err)})
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(rsaKey())
	sec1, err2 := x509.MarshalECPrivateKey(ecKey())
	for name, data := range map[string][]byte{
		"PKCS #8": block("PRIVATE KEY", pkcs8, err),
		"PKCS #1": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()), nil),
		"SEC 1":   block("EC PRIVATE KEY", sec1, err2),
		"JWK":     must(json.Marshal(jose.JSONWebKey{Key: edwardKey()})),
	} {
		key, err := requester.ReadKey(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		set, err := key.JWKS()
		if err != nil || bytes.Contains(set, []byte(`"d"`)) {
			t.Errorf("%s: JWKS = %s, %v", name, set, err)
		}
		token, err := requester.Mint(requester.MintOptions{Key: key, Issuer: issuer, Audience: audience, Subject: alice, Now: clock})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		i := newIdentifier(t, func(o *requester.Options) { o.JWKS = write(t, set) })
		wantAlice(t, i.Identify(t.Context(), assertion(token), nil))
	}
	public := must(x509.MarshalPKIXPublicKey(rsaKey().Public().(*rsa.PublicKey)))
	for name, data := range map[string][]byte{
		"nothing":        nil,
		"text":           []byte("hunter2"),
		"a public PEM":   block("PUBLIC KEY", public, nil),
		"a public JWK":   []byte(publicJWK(t)),
		"a P-384 key":    must(json.Marshal(jose.JSONWebKey{Key: p384Key()})),
		"a weak RSA key": block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weakRSA()), nil),
		"a shared key":   []byte(`{"kty":"oct","k":"c2VjcmV0LXZhbHVl"}`),
	} {
		if _, err := requester.ReadKey(data); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "c2Vj") {
			t.Errorf("%s: ReadKey = %v", name, err)
		}
	}
}

func TestMintRefusesWhatNobodyWouldAccept(t *testing.T) {
	key, err := requester.GenerateKey("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := requester.GenerateKey("HS256"); err == nil {
		t.Error("GenerateKey of HS256 succeeded")
	}
	for name, change := range map[string]func(o *requester.MintOptions){
		"no key":      func(o *requester.MintOptions) { o.Key = requester.Key{} },
		"no issuer":   func(o *requester.MintOptions) { o.Issuer = "" },
		"no audience": func(o *requester.MintOptions) { o.Audience = "" },
		"no subject":  func(o *requester.MintOptions) { o.Subject = "" },
		"bad subject": func(o *requester.MintOptions) { o.Subject = "alice" },
		"bad ticket":  func(o *requester.MintOptions) { o.Ticket = "a\nb" },
		"no lifetime": func(o *requester.MintOptions) { o.TTL = -time.Second },
		"too large":   func(o *requester.MintOptions) { o.Issuer = strings.Repeat("x", 8<<10) },
	} {
		o := requester.MintOptions{Key: key, Issuer: issuer, Audience: audience, Subject: alice}
		change(&o)
		if token, err := requester.Mint(o); err == nil {
			t.Errorf("%s: Mint = %s", name, token)
		}
	}
}

func TestAKeyDoesNotPrintItself(t *testing.T) {
	key, err := requester.GenerateKey("")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, key); got != "[secret]" {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

func BenchmarkIdentify(b *testing.B) {
	i := newIdentifier(b, nil)
	b.Run("remembered", func(b *testing.B) {
		h := assertion(good(nil))
		b.ReportAllocs()
		for b.Loop() {
			i.Identify(b.Context(), nil, h)
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			h := assertion(good(nil)) // ES256 signatures differ each time
			b.StartTimer()
			i.Identify(b.Context(), h, nil)
		}
	})
}
