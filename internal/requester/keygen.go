package requester

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-jose/go-jose/v4"
)

// Kinds of key for GenerateKey.
const (
	ES256 = "ES256" // the default: every JWT library has it
	EdDSA = "EdDSA"
)

// The files that WriteKeys makes.
const (
	KeyFile  = "assert.key"
	JWKSFile = "jwks.json"
)

// Key is a private key that signs assertions. It does not print itself.
type Key struct {
	private crypto.Signer
	alg     string
	id      string
}

// GenerateKey makes a new key: ES256, also when kind is empty, or EdDSA.
func GenerateKey(kind string) (Key, error) {
	switch kind {
	case "", ES256:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("generate key: %w", err)
		}
		return newKey(k)
	case EdDSA:
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return Key{}, fmt.Errorf("generate key: %w", err)
		}
		return newKey(k)
	default:
		return Key{}, fmt.Errorf("generate key: kind is %q, want %s or %s", kind, ES256, EdDSA)
	}
}

// ReadKey reads a private key: PEM (PKCS #8, SEC 1 or PKCS #1) or a JWK. P-256, Ed25519 and RSA keys will do.
func ReadKey(data []byte) (Key, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		var jwk jose.JSONWebKey
		if err := jwk.UnmarshalJSON(data); err != nil || jwk.IsPublic() {
			return Key{}, errors.New("read key: neither a PEM nor a JWK private key") // the decoder's text may quote the key
		}
		return newKey(jwk.Key)
	}
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
		func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
	} {
		if k, err := parse(block.Bytes); err == nil {
			return newKey(k)
		}
	}
	return Key{}, errors.New("read key: the PEM block holds no private key")
}

// LoadKey reads a private key from a file.
func LoadKey(path string) (key Key, err error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxJWKS))
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	if key, err = ReadKey(data); err != nil {
		return Key{}, fmt.Errorf("load %s: %w", path, err)
	}
	return key, nil
}

// newKey names a key by its RFC 7638 thumbprint, so that the private key alone says which public key is its own.
func newKey(private any) (Key, error) {
	signer, ok := private.(crypto.Signer)
	if !ok {
		return Key{}, errors.New("key: cannot sign")
	}
	public := jose.JSONWebKey{Key: signer.Public()}
	alg := algorithmOf(public)
	if alg == "" {
		return Key{}, errors.New("key: want P-256, Ed25519, or RSA of 2048 bits and more")
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return Key{}, fmt.Errorf("key: %w", err)
	}
	return Key{private: signer, alg: string(alg), id: base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// ID returns the key's kid.
func (k Key) ID() string { return k.id }

// String hides the key.
func (k Key) String() string { return "[secret]" }

// GoString hides the key.
func (k Key) GoString() string { return "[secret]" }

// PEM returns the private key as PKCS #8.
func (k Key) PEM() ([]byte, error) {
	if k.private == nil {
		return nil, errors.New("encode key: no key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// JWKS returns the set that holds the public key alone.
func (k Key) JWKS() ([]byte, error) {
	if k.private == nil {
		return nil, errors.New("encode key: no key")
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: k.private.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}}}
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return append(b, '\n'), nil
}

// WriteKeys writes KeyFile, for its owner only, and JWKSFile into dir, which it makes. It overwrites neither: a key that
// is in use would be lost.
func WriteKeys(dir string, k Key) error {
	private, err := k.PEM()
	if err != nil {
		return err
	}
	public, err := k.JWKS()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	if err := create(filepath.Join(dir, KeyFile), private, 0o600); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	if err := create(filepath.Join(dir, JWKSFile), public, 0o644); err != nil {
		// A private key without its public half is of no use, and would stand in the way of the next attempt.
		return fmt.Errorf("write keys: %w", errors.Join(err, os.Remove(filepath.Join(dir, KeyFile))))
	}
	return nil
}

func create(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	return f.Close()
}
