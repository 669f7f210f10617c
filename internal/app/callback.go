package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"

	"countersign/internal/callback"
	"countersign/internal/config"
	"countersign/internal/hold"
	"countersign/providers"
)

// pagePath is where a provider's pages are on the callback listener, without the slash at its end.
func pagePath(name string) string {
	p := callback.PagePath(name)
	return p[:len(p)-1]
}

// callbackURL is how browsers and providers reach the callback listener; "" when it is off.
func callbackURL(c config.Config, bound string) string {
	switch {
	case bound == "":
		return ""
	case c.Callback.ExternalURL != "":
		return c.Callback.ExternalURL
	case len(c.TLS.ACME.Domains) > 0:
		return "https://" + c.TLS.ACME.Domains[0]
	case c.Callback.Cert != "":
		return "https://" + bound
	default:
		return "http://" + bound // loopback only: config sees to it
	}
}

// buildCallback makes the public listener's server, where there is one. begin gets its certificate, once it is served.
func (s *Sidecar) buildCallback(verifiers []hold.Named) error {
	l, ok := s.listeners["callback"]
	if !ok {
		return nil
	}
	o := callback.Options{
		Callers: map[string]providers.Caller{}, Pages: map[string]providers.Pager{}, Logger: s.log,
		Wake: func(ctx context.Context, provider, transaction string) {
			if err := s.desk.Wake(ctx, provider, transaction); err != nil {
				s.log.Warn("callback not passed on: the poll will find the answer", slog.String("provider", provider), slog.Any("error", err))
			}
		},
	}
	for _, v := range verifiers {
		if c, ok := v.Verifier.(providers.Caller); ok {
			o.Callers[v.Name] = c
		}
		if p, ok := v.Verifier.(providers.Pager); ok && p.Pages() != nil {
			o.Pages[v.Name] = p
		}
	}
	var err error
	if o.TLS, err = s.callbackTLS(l.Addr()); err != nil {
		return err
	}
	if s.callback, err = callback.New(o); err != nil {
		return err
	}
	return nil
}

// callbackTLS says where the public listener's certificate comes from; nil for plain HTTP on this machine.
func (s *Sidecar) callbackTLS(addr net.Addr) (*tls.Config, error) {
	acme := s.cfg.TLS.ACME
	switch {
	case len(acme.Domains) > 0:
		roots, err := extraRoots(acme.RootCAs)
		if err != nil {
			return nil, fmt.Errorf("tls.acme.root_cas: %w", err)
		}
		c, begin, stop, err := callback.ACME{
			Domains: acme.Domains, Email: acme.Email, Directory: acme.Directory, Storage: acme.Storage, RootCAs: roots, Logger: s.log,
		}.Config(addr)
		if err != nil {
			return nil, err
		}
		s.onClose(stop)
		s.certify = begin
		return c, nil
	case s.cfg.Callback.Cert != "":
		return callback.Files{Cert: s.cfg.Callback.Cert, Key: s.cfg.Callback.Key}.Config()
	default:
		return nil, nil //nolint:nilnil // no TLS is what is meant
	}
}
