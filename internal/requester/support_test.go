package requester_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/requester"
	"countersign/policy"

	"github.com/go-jose/go-jose/v4"
)

const (
	issuer   = "https://desk.contoso.com"
	audience = "countersign"
	alice    = "alice@contoso.com"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// Keys are made once: RSA ones are slow to make.
var (
	rsaKey    = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	weakRSA   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	ecKey     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	otherKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	edwardKey = sync.OnceValue(func() ed25519.PrivateKey {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return must(k, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// forge signs any header and payload, in ways that a proper library refuses to.
func forge(header, payload string, key any) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		size := (k.Params().BitSize + 7) / 8
		sig = append(must(r, err).FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(input))
	case *rsa.PrivateKey:
		sig = must(rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:]))
	case pss:
		sig = must(rsa.SignPSS(rand.Reader, k.PrivateKey, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
	case []byte:
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(input))
		sig = mac.Sum(nil)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

type pss struct{ *rsa.PrivateKey }

// claims returns good claims with changes; a nil value takes a claim out.
func claims(change map[string]any) string {
	c := map[string]any{
		"iss": issuer, "aud": audience, "sub": alice, "iat": noon.Unix(), "exp": noon.Add(10 * time.Minute).Unix(),
		"ticket": "T-1042", "channel": "chat", "agent": "helpdesk-1", "jti": "j1", "oid": "0f3e", "tid": "9c1d",
	}
	maps.Copy(c, change)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return string(must(json.Marshal(c)))
}

func good(change map[string]any) string {
	return forge(`{"alg":"ES256","kid":"ec"}`, claims(change), ecKey())
}

func jwks(keys ...jose.JSONWebKey) []byte { return must(json.Marshal(jose.JSONWebKeySet{Keys: keys})) }

func allKeys() []byte {
	return jwks(
		jose.JSONWebKey{KeyID: "ec", Key: ecKey().Public(), Use: "sig"},
		jose.JSONWebKey{KeyID: "rsa", Key: rsaKey().Public()},
		jose.JSONWebKey{KeyID: "rs-only", Key: rsaKey().Public(), Algorithm: "RS256"},
		jose.JSONWebKey{KeyID: "ed", Key: edwardKey().Public(), Algorithm: "EdDSA"},
		jose.JSONWebKey{KeyID: "weak", Key: weakRSA().Public()},
		jose.JSONWebKey{KeyID: "p384", Key: p384Key().Public()},
		jose.JSONWebKey{KeyID: "enc", Key: ecKey().Public(), Use: "enc"},
	)
}

func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newIdentifier returns an Identifier with all keys, at noon.
func newIdentifier(t testing.TB, change func(o *requester.Options)) *requester.Identifier {
	t.Helper()
	o := requester.Options{Issuer: issuer, Audience: audience, JWKS: write(t, allKeys()), Now: clock, DefaultAgent: "sidecar"}
	if change != nil {
		change(&o)
	}
	i, err := requester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = i.Close() }) // never fails
	return i
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for n := 0; n < len(pairs); n += 2 {
		h.Add(pairs[n], pairs[n+1])
	}
	return h
}

func assertion(token string) http.Header { return header("Countersign-Assertion", token) }

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// wantNobody checks that a credential was seen and not believed.
func wantNobody(t testing.TB, id requester.Identity) {
	t.Helper()
	r := id.Subject.Requester
	if r.Assurance != policy.AssuranceNone || r.ID != "" || r.ObjectID != "" || len(r.Claims) != 0 || id.Subject.Ticket != "" || id.Subject.Agent != "sidecar" || id.JTI != "" || id.Channel != "" {
		t.Errorf("Identify = %+v, want nobody", id)
	}
	if !id.Presented || id.Why == "" {
		t.Errorf("Presented = %v, Why = %q; want true and a reason", id.Presented, id.Why)
	}
}

func wantAlice(t testing.TB, id requester.Identity) {
	t.Helper()
	if r := id.Subject.Requester; r.Assurance != policy.AssuranceAttested || r.ID != alice || id.Why != "" || !id.Presented {
		t.Errorf("Identify = %+v, want alice, attested", id)
	}
}

func describe(id requester.Identity) string {
	return fmt.Sprintf("%s/%s/%v", id.Subject.Requester.ID, id.Subject.Requester.Assurance, id.Presented)
}

// publicJWK is the key that an attacker would have us use.
func publicJWK(t testing.TB) string {
	t.Helper()
	return string(must(json.Marshal(jose.JSONWebKey{KeyID: "ec", Key: otherKey().Public()})))
}

// respell changes the bits of the last character that no byte of the signature uses.
func respell(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}
