package callback

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"

	"countersign/internal/zaplog"
)

// ACME says how certificates are got by RFC 8555, over the listener itself (TLS-ALPN-01): what asks for the names on port 443
// has to reach it.
type ACME struct {
	Domains   []string
	Email     string
	Directory string         // of the CA; "": Let's Encrypt
	Storage   string         // folder; replicas that serve the same names share it
	RootCAs   *x509.CertPool // of the directory; nil: the system's
	Logger    *slog.Logger
}

// Config returns a TLS configuration whose certificates are got once listening has begun, and begin, which gets and renews
// them until ctx ends. Until there is a certificate, handshakes fail.
func (a ACME) Config(l net.Addr) (c *tls.Config, begin func(context.Context) error, stop func(), err error) {
	_, port, err := net.SplitHostPort(l.String())
	if err != nil {
		return nil, nil, nil, fmt.Errorf("callback address: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("callback address: %w", err)
	}
	logger := a.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	log := zaplog.Bridge(logger, "callback certificates")
	var magic *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return magic, nil }, Logger: log,
	})
	magic = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: a.Storage}, Logger: log})
	directory := a.Directory
	if directory == "" {
		directory = certmagic.LetsEncryptProductionCA
	}
	magic.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(magic, certmagic.ACMEIssuer{
		CA: directory, Email: a.Email, Agreed: true, TrustedRoots: a.RootCAs, DisableHTTPChallenge: true, AltTLSALPNPort: n, Logger: log,
	})}
	c = magic.TLSConfig()
	c.MinVersion = tls.VersionTLS12
	c.NextProtos = []string{"h2", "http/1.1", acmez.ACMETLS1Protocol}
	return c, func(ctx context.Context) error { return magic.ManageAsync(ctx, a.Domains) }, cache.Stop, nil
}

// Files is a certificate in two PEM files, read again when they change.
type Files struct{ Cert, Key string }

// reread is how often the files are looked at.
const reread = 10 * time.Second

// Config returns a TLS configuration with the files' certificate. They must be readable now.
func (f Files) Config() (*tls.Config, error) {
	k := &kept{files: f}
	if _, err := k.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.get, NextProtos: []string{"h2", "http/1.1"}}, nil
}

type kept struct {
	files Files

	mu      sync.Mutex
	cert    *tls.Certificate
	changed time.Time // the newer of the files' times
	looked  time.Time
}

// get returns the current certificate. Files that are half-written or gone leave the last good one in use.
func (k *kept) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cert != nil && time.Since(k.looked) < reread {
		return k.cert, nil
	}
	k.looked = time.Now()
	changed, err := k.files.changed()
	if err == nil && k.cert != nil && changed.Equal(k.changed) {
		return k.cert, nil
	}
	var cert tls.Certificate
	if err == nil {
		cert, err = tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
	}
	if err != nil {
		if k.cert != nil {
			return k.cert, nil //nolint:nilerr // the last good one; the next look may find better
		}
		return nil, fmt.Errorf("callback certificate: %w", err)
	}
	k.cert, k.changed = &cert, changed
	return k.cert, nil
}

func (f Files) changed() (time.Time, error) {
	a, err := os.Stat(f.Cert)
	if err != nil {
		return time.Time{}, err
	}
	b, err := os.Stat(f.Key)
	if err != nil {
		return time.Time{}, err
	}
	if b.ModTime().After(a.ModTime()) {
		return b.ModTime(), nil
	}
	return a.ModTime(), nil
}
