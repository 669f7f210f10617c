package microsoft365

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Secret is a key or password that does not print itself.
type Secret string

// Format writes a placeholder whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) } // nothing to do about a failed print

// String returns a placeholder.
func (Secret) String() string { return "[secret]" }

// MarshalText returns a placeholder, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue returns a placeholder, for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// pair is a certificate that stands for an application, and its key.
type pair struct {
	chain []*x509.Certificate // the leaf first
	key   *rsa.PrivateKey
}

const smallestKey = 2048 // bits

// parsePair reads a PEM file with certificates and one RSA key, the only kind that Entra takes.
func parsePair(pem Secret) (pair, error) {
	certs, key, err := azidentity.ParseCertificates([]byte(pem), nil)
	if err != nil {
		return pair{}, errors.New("want PEM with a certificate and its private key") // the parser's error may quote the file
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok || private.N.BitLen() < smallestKey {
		return pair{}, fmt.Errorf("want an RSA key of %d bits at least", smallestKey)
	}
	p := pair{key: private}
	for _, c := range certs {
		if public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(private.Public()) {
			p.chain = append([]*x509.Certificate{c}, p.chain...)
		} else {
			p.chain = append(p.chain, c)
		}
	}
	if public, ok := p.chain[0].PublicKey.(*rsa.PublicKey); !ok || !public.Equal(private.Public()) {
		return pair{}, errors.New("the private key belongs to none of the certificates")
	}
	return p, nil
}
