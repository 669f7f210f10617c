package microsoft365

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

const (
	expiresSoon = 30 * 24 * time.Hour
	// A certificate that was just registered is unknown to the sign-in service for some seconds.
	settleTime  = 2 * time.Minute
	settlePause = 5 * time.Second
)

// certificate registers one with the MFA client, unless it is there.
func (s *setup) certificate(ctx context.Context) error {
	var have []credential
	if s.sp != nil {
		var err error
		if have, err = s.graph.credentials(ctx, s.sp.id); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	for _, c := range have {
		if left := c.end.Sub(s.o.Now()); left < expiresSoon {
			s.say("note", "certificate: %s (%s) ends on %s", printable(c.name), c.id, c.end.UTC().Format(time.DateOnly))
		}
	}
	if s.o.Certificate == nil && !s.o.Apply {
		s.say("plan", "certificate: make one, good for %d days, and register it; %d are there and stay", int(s.o.Lifetime/(24*time.Hour)), len(have))
		return nil
	}
	leaf, secret, err := s.chosen()
	if err != nil {
		return err
	}
	print := sha256.Sum256(leaf.Raw)
	name := fmt.Sprintf("SHA-256 %s, good until %s", hex.EncodeToString(print[:]), leaf.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case slices.ContainsFunc(have, func(c credential) bool { return bytes.Equal(c.key, leaf.Raw) }):
		s.say("ok", "certificate: registered already: %s", name)
		return nil
	case slices.ContainsFunc(have, func(c credential) bool { return len(c.key) == 0 }):
		return errors.New("certificate: the directory does not give out the ones that are there, so registering another might remove them: nothing was changed")
	case !s.o.Apply:
		s.say("plan", "certificate: register %s; %d are there and stay", name, len(have))
		return nil
	case s.sp == nil:
		return errors.New("certificate: there is no service principal to register it with")
	}
	if err := s.register(ctx, have, leaf); err != nil {
		return err
	}
	s.say("done", "certificate: registered %s; %d that were there stay", name, len(have))
	return s.settle(ctx, secret)
}

// chosen returns the certificate that was given, or a new one, which is saved first: one that was registered and then lost
// would be a key that nobody has.
func (s *setup) chosen() (*x509.Certificate, Secret, error) {
	if s.o.Certificate != nil {
		for rest := s.o.Certificate; ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				return nil, "", errors.New("certificate: want PEM")
			}
			if b.Type != "CERTIFICATE" {
				continue
			}
			leaf, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, "", errors.New("certificate: not readable")
			}
			return leaf, "", s.suits(leaf)
		}
	}
	leaf, key, err := newCertificate(s.o.TenantID, s.o.Now(), s.o.Lifetime)
	if err != nil {
		return nil, "", err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	if err := s.o.Save(public, key); err != nil {
		return nil, "", fmt.Errorf("certificate: save: %w", err)
	}
	return leaf, Secret(public) + key, nil
}

func (s *setup) suits(leaf *x509.Certificate) error {
	now := s.o.Now()
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); !ok || key.N.BitLen() < smallestKey {
		return fmt.Errorf("certificate: want an RSA key of %d bits at least", smallestKey)
	}
	if now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter) {
		return fmt.Errorf("certificate: good from %s to %s only", leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

func newCertificate(tenant string, now time.Time, lifetime time.Duration) (*x509.Certificate, Secret, error) {
	key, err := rsa.GenerateKey(rand.Reader, smallestKey)
	if err != nil {
		return nil, "", errors.New("certificate: cannot make a key")
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, "", errors.New("certificate: cannot make a serial number")
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Countersign for " + strings.ToLower(tenant)},
		NotBefore: now.Add(-5 * time.Minute), NotAfter: now.Add(lifetime), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, "", errors.New("certificate: cannot be made")
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, "", errors.New("certificate: cannot be made")
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", errors.New("certificate: its key cannot be written")
	}
	return leaf, Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), nil
}

// register adds a certificate and reads back what came of it.
func (s *setup) register(ctx context.Context, have []credential, leaf *x509.Certificate) error {
	if err := s.graph.setCredentials(ctx, s.sp.id, have, leaf); err != nil {
		return fmt.Errorf("certificate: register: %w", err)
	}
	now, err := s.graph.credentials(ctx, s.sp.id)
	if err != nil {
		return fmt.Errorf("certificate: registered, but not read back: %w", err)
	}
	if !slices.ContainsFunc(now, func(c credential) bool { return bytes.Equal(c.key, leaf.Raw) }) {
		return errors.New("certificate: the directory took it and does not have it")
	}
	for _, old := range have {
		if !slices.ContainsFunc(now, func(c credential) bool { return c.id == old.id }) {
			return fmt.Errorf("certificate: %s (%s) was there before and is gone: register it again", printable(old.name), old.id)
		}
	}
	return nil
}

// settle waits until the sign-in service takes a new certificate.
func (s *setup) settle(ctx context.Context, secret Secret) error {
	if secret == "" {
		s.say("note", "certificate: its key was not given, so it was not tried; countersign doctor does")
		return nil
	}
	t, err := newTokens(Options{TenantID: s.o.TenantID, Connector: Connector{Certificate: secret}, Now: s.o.Now}, s.at, s.client)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		_, err := t.get(ctx)
		if err == nil {
			s.say("ok", "certificate: the sign-in service takes it")
			return nil
		}
		pause := time.NewTimer(settlePause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("certificate: registered, and the sign-in service does not take it yet: %w", err)
		}
	}
}

// printable makes a name of the directory's fit for a terminal.
func printable(name string) string {
	return fmt.Sprintf("%.80q", name)
}
