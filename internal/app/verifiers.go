package app

import (
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"

	"countersign/internal/config"
	"countersign/internal/hold"
	"countersign/providers/duo"
)

// openVerifiers opens the configured providers in order of preference. It dials nothing.
func openVerifiers(c config.Config, log *slog.Logger) ([]hold.Named, error) {
	var out []hold.Named
	for _, name := range c.ProviderNames() {
		p := c.Providers[name]
		roots, err := rootPool(p.RootCAs)
		if err != nil {
			return nil, fmt.Errorf("providers.%s.root_cas: %w", name, err)
		}
		switch p.Type {
		case "duo":
			username := duo.UPN
			if p.Username != "" {
				username = duo.Username(p.Username)
			}
			v, err := duo.Open(duo.Options{
				Name: name, Host: p.Host, IntegrationKey: p.IntegrationKey, SecretKey: duo.Secret(p.SecretKey.Reveal()),
				Username: username, RootCAs: roots, Logger: log,
			})
			if err != nil {
				return nil, fmt.Errorf("providers.%s: %w", name, err)
			}
			out = append(out, hold.Named{Name: name, Verifier: v})
		default: // config.Load refuses what is not built
			return nil, fmt.Errorf("providers.%s: unknown type %q", name, p.Type)
		}
	}
	return out, nil
}

// rootPool reads the roots that stand in for a provider's own; nil for no file.
func rootPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	return addRoots(x509.NewCertPool(), file)
}

// extraRoots reads roots on top of the system's; nil for no file, which means the system's alone.
func extraRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // an image without roots: the file's are all there is
		pool = x509.NewCertPool()
	}
	return addRoots(pool, file)
}

func addRoots(pool *x509.CertPool, file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: %w", file, errNoCertificates)
	}
	return pool, nil
}
