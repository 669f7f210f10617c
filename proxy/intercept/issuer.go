package intercept

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/caddyserver/certmagic"
)

// issuer signs for certmagic with the interception authority.
type issuer struct {
	ca *CA
}

var _ certmagic.Issuer = (*issuer)(nil)

// Issue signs one leaf. Every error is final: certmagic would otherwise hold the handshake for minutes to try again.
func (s *issuer) Issue(_ context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	text, err := s.sign(csr)
	if err != nil {
		return nil, certmagic.ErrNoRetry{Err: err}
	}
	return &certmagic.IssuedCertificate{Certificate: text}, nil
}

// IssuerKey names the authority in storage keys.
func (s *issuer) IssuerKey() string {
	return "interception-" + hex.EncodeToString(s.ca.cert.SubjectKeyId)
}

func (s *issuer) sign(csr *x509.CertificateRequest) ([]byte, error) {
	now := s.ca.now()
	if err := s.ca.check(); err != nil { // it may have expired since it was loaded
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("intercept: certificate request: %w", err)
	}
	if len(csr.DNSNames)+len(csr.IPAddresses) != 1 || len(csr.EmailAddresses)+len(csr.URIs) != 0 {
		return nil, errors.New("intercept: certificate request is not for one host")
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafLifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     csr.DNSNames,
		IPAddresses:  csr.IPAddresses,
	}
	if len(csr.DNSNames) == 1 && len(csr.DNSNames[0]) <= maxCommonName {
		leaf.Subject = pkix.Name{CommonName: csr.DNSNames[0]} // for clients that show it; none should check it
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.ca.cert, csr.PublicKey, s.ca.key)
	if err != nil {
		return nil, fmt.Errorf("intercept: sign certificate: %w", err)
	}
	var out bytes.Buffer
	out.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}))
	// A root is not sent: who trusts it has it. An intermediate of the operator's own is, with what leads to its root.
	if !bytes.Equal(s.ca.cert.RawSubject, s.ca.cert.RawIssuer) {
		out.Write(s.ca.CertPEM())
		for _, c := range s.ca.chain {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw}))
		}
	}
	return out.Bytes(), nil
}
