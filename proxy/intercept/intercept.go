// Package intercept ends TLS in a host's name, with certificates of our own that are made when they are first needed, and
// only for admitted names. It also reads the ClientHello of tunnels that pass unread.
package intercept

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"golang.org/x/net/idna"

	"countersign/internal/zaplog"
)

const (
	handshakeTimeout = 10 * time.Second
	// leafLifetime stays far above 5 × renewCheck: certmagic counts a leaf with less left as expiring, and one that is
	// born so would be made anew at every handshake. What issue subtracts by backdating does not come near it.
	leafLifetime = 7 * 24 * time.Hour
	renewCheck   = certmagic.DefaultRenewCheckInterval
	// maxNames bounds memory when a pattern admits more names than anybody has hosts.
	maxNames = 4096
	// attempts bounds retries after a failure that was somebody else's: see certificate.
	attempts = 5
)

// Errors of a handshake or a first look, for errors.Is.
var (
	// ErrSNI means that the ClientHello names another host than the CONNECT did.
	ErrSNI = errors.New("server name differs from the connection's host")
	// ErrNotAdmitted means that no certificate is made for this name.
	ErrNotAdmitted = errors.New("host is not admitted")
	// ErrNotTLS means that the first bytes are no ClientHello.
	ErrNotTLS = errors.New("not a TLS ClientHello")
)

// Options says whom to make certificates for.
type Options struct {
	// Admit reports whether a host, in canonical form, is intercepted. It is asked at every handshake and must be fast.
	Admit func(name string) bool
	// Logger gets certmagic's warnings, and its progress at debug level; nil discards.
	Logger *slog.Logger
}

// Interceptor ends TLS for admitted hosts. It is safe for concurrent use.
type Interceptor struct {
	ca        *CA
	admit     func(string) bool
	magic     *certmagic.Config
	cache     *certmagic.Cache
	server    *tls.Config
	closeOnce sync.Once
}

// New makes an Interceptor that signs with ca. Close ends its goroutine.
func New(ca *CA, o Options) (*Interceptor, error) {
	if ca == nil {
		return nil, errors.New("intercept: no CA")
	}
	if o.Admit == nil {
		return nil, errors.New("intercept: nothing says which hosts to admit")
	}
	if err := ca.check(); err != nil {
		return nil, err
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	i := &Interceptor{ca: ca, admit: o.Admit}
	zapper := zaplog.Bridge(logger, "interception certificates")
	i.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return i.magic, nil },
		RenewCheckInterval: renewCheck,
		Capacity:           maxNames,
		Logger:             zapper,
	})
	i.magic = certmagic.New(i.cache, certmagic.Config{
		RenewalWindowRatio:  certmagic.DefaultRenewalWindowRatio,
		OnDemand:            &certmagic.OnDemandConfig{DecisionFunc: i.decide},
		Issuers:             []certmagic.Issuer{&issuer{ca: ca}},
		KeySource:           certmagic.StandardKeyGenerator{KeyType: certmagic.P256},
		OCSP:                certmagic.OCSPConfig{DisableStapling: true},
		Storage:             newMemory(maxNames),
		DisableStorageCheck: true, // it writes 10 KB of random bytes per certificate
		DisableARI:          true,
		Logger:              zapper,
	})
	i.server = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: checkSNI, // asked before a session is resumed too, unlike GetCertificate
		GetCertificate:     i.certificate,
	}
	return i, nil
}

// Handshake ends TLS on conn in the name of connectHost, the host that the CONNECT (or the redirected connection) was for.
// The ClientHello must name the same host or none. It takes at most 10 seconds, or until ctx ends. On an error conn is closed.
func (i *Interceptor) Handshake(ctx context.Context, conn net.Conn, connectHost string) (*tls.Conn, error) {
	host, err := canonical(connectHost)
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrNotAdmitted, err)
	case !i.admit(host):
		err = fmt.Errorf("intercept: %w", ErrNotAdmitted)
	}
	if err != nil {
		_ = conn.Close() // the error says more than a failed close would
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, hostKey{}, host), handshakeTimeout)
	defer cancel()
	tc := tls.Server(conn, i.server)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // tc.Close would wait to send an alert to a peer that may be stuck
		return nil, fmt.Errorf("intercept: handshake: %w", err)
	}
	return tc, nil
}

// Close stops the maintenance goroutine and waits for it. Connections stay open.
func (i *Interceptor) Close() {
	i.closeOnce.Do(i.cache.Stop)
}

// hostKey carries the host to the callbacks of one shared tls.Config; a config per handshake would lose session tickets.
type hostKey struct{}

func checkSNI(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	host, ok := hello.Context().Value(hostKey{}).(string)
	if !ok {
		return nil, errors.New("intercept: handshake without a host")
	}
	if hello.ServerName == "" {
		return nil, nil // crypto/tls: "go on with the config you have"
	}
	if sni, err := canonical(hello.ServerName); err != nil || sni != host {
		return nil, ErrSNI
	}
	return nil, nil
}

// certificate returns the certificate for the handshake's host. certmagic makes concurrent callers for one name wait for the
// first and gives them its outcome, across all its users in the process: what comes back may be another authority's
// certificate, another's refusal, or the error of a caller who hung up. So the outcome is checked, and asked for again.
func (i *Interceptor) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ctx := hello.Context()
	host, ok := ctx.Value(hostKey{}).(string)
	if !ok {
		return nil, errors.New("intercept: handshake without a host")
	}
	ask := *hello
	ask.ServerName = host
	ask.SupportedProtos = nil // "acme-tls/1" would make certmagic look for a challenge
	if _, err := netip.ParseAddr(host); err == nil {
		// certmagic puts a server name through IDNA, which refuses IPv6; the local address of a connection it takes as it is.
		ask.ServerName = ""
		ask.Conn = addressed{Conn: hello.Conn, ip: host}
	}
	var err error
	for range attempts {
		var cert *tls.Certificate
		cert, err = i.magic.GetCertificateWithContext(ctx, &ask)
		if err == nil {
			if cert.Leaf != nil && i.ca.issued(cert.Leaf) && cert.Leaf.VerifyHostname(host) == nil {
				return cert, nil
			}
			err = errors.New("certificate is not ours")
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("certificate for %s: %w", host, ctx.Err())
		}
	}
	return nil, fmt.Errorf("certificate for %s: %w", host, err)
}

func (i *Interceptor) decide(_ context.Context, name string) error {
	if !i.admit(name) {
		return ErrNotAdmitted
	}
	return nil
}

// addressed is a connection that gives out ip as its local address.
type addressed struct {
	net.Conn
	ip string
}

func (a addressed) LocalAddr() net.Addr { return literal(a.ip) }

type literal string

func (literal) Network() string  { return "tcp" }
func (l literal) String() string { return net.JoinHostPort(string(l), "443") }

// canonical puts a host in the one form in which names are compared: lower-case ASCII, no trailing dot; for an IP literal,
// its shortest form without brackets.
func canonical(host string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(bare); err == nil {
		if a.Zone() != "" {
			return "", fmt.Errorf("intercept: host %q has a zone", host)
		}
		return a.Unmap().String(), nil
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(host, "."))
	if err != nil || name == "" {
		return "", fmt.Errorf("intercept: %q is not a host name", host)
	}
	return strings.ToLower(name), nil
}
