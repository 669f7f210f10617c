package intercept

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"
)

const (
	caLifetime = 10 * 365 * 24 * time.Hour
	// backdate lets a client whose clock is a little behind accept what was just signed.
	backdate = time.Hour
	// maxCommonName is X.520's upper bound; OpenSSL refuses longer ones.
	maxCommonName = 64
)

// CA is an interception authority: what agents are told to trust, and the key that signs for intercepted hosts.
type CA struct {
	cert  *x509.Certificate
	chain []*x509.Certificate // certificates above cert, for one that is not a root itself
	key   crypto.Signer
	now   func() time.Time
}

// LoadCA reads an authority from PEM: its certificate first, then any that lead from it to a root, and its private key.
// It refuses a certificate that is no CA, has expired, is not valid yet, or does not belong to the key.
func LoadCA(certPEM, keyPEM []byte) (*CA, error) {
	return parseCA(certPEM, keyPEM, time.Now)
}

// CertPEM returns the authority's certificate, as agents install it. It is the same text on every call.
func (ca *CA) CertPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: ca.cert.Raw})
}

// Certificate returns the authority's certificate, which the caller must not change.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

func parseCA(certPEM, keyPEM []byte, now func() time.Time) (*CA, error) {
	certs, err := parseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	ca := &CA{cert: certs[0], chain: certs[1:], key: key, now: now}
	if err := ca.check(); err != nil {
		return nil, err
	}
	return ca, nil
}

func (ca *CA) check() error {
	switch now := ca.now(); {
	case !ca.cert.BasicConstraintsValid || !ca.cert.IsCA:
		return errors.New("intercept: the certificate is not a certificate authority's")
	case ca.cert.KeyUsage != 0 && ca.cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("intercept: the certificate may not sign certificates")
	case !now.Before(ca.cert.NotAfter):
		return fmt.Errorf("intercept: the CA expired at %s: remove it and let a new one be made", ca.cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(ca.cert.NotBefore):
		return fmt.Errorf("intercept: the CA is not valid before %s: is the clock right?", ca.cert.NotBefore.UTC().Format(time.RFC3339))
	}
	pub, ok := ca.cert.PublicKey.(interface{ Equal(x crypto.PublicKey) bool })
	if !ok || !pub.Equal(ca.key.Public()) {
		return errors.New("intercept: the CA's key does not belong to its certificate")
	}
	return nil
}

// issued reports whether leaf was signed by this authority. It compares names and key ids, not the signature: the leaf
// comes from this process, and the question is only which of its authorities made it.
func (ca *CA) issued(leaf *x509.Certificate) bool {
	return bytes.Equal(leaf.RawIssuer, ca.cert.RawSubject) && bytes.Equal(leaf.AuthorityKeyId, ca.cert.SubjectKeyId)
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != pemCertificate {
			return nil, fmt.Errorf("intercept: the CA certificate file holds a %s", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("intercept: parse CA certificate: %w", err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("intercept: no PEM certificate in the CA certificate file")
	}
	return certs, nil
}

// parseKey reads a private key in any of the three forms that tools write. Its errors never quote the text.
func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam -genkey writes it before the key
		block, text = pem.Decode(text)
	}
	if block == nil {
		return nil, errors.New("intercept: no PEM private key in the CA key file")
	}
	var key any
	var err error
	switch block.Type {
	case pemKey:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("intercept: the CA key file holds a %s, not an unencrypted private key", block.Type)
	}
	if err != nil {
		return nil, errors.New("intercept: the CA key cannot be parsed") // the cause may quote key material
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("intercept: the CA key is a %T, which cannot sign", key)
	}
	return signer, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("intercept: generate key: %w", err)
	}
	return key, nil
}

// selfSign makes the authority's certificate for key.
func selfSign(key crypto.Signer, now time.Time) ([]byte, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := "Countersign interception CA " + host
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: strings.ToValidUTF8(name[:min(len(name), maxCommonName)], "")},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("intercept: sign the CA: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}), nil
}

func newSerial() (*big.Int, error) {
	// 159 bits: positive and within RFC 5280's 20 octets.
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 159))
	if err != nil {
		return nil, fmt.Errorf("intercept: serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}
