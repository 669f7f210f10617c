// Package microsoft365 opens Microsoft 365 providers as the configuration says. It is apart from package app so that a program
// that has no use for Microsoft's SDK, such as the quick start, does not link it.
package microsoft365

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign/internal/app"
	"countersign/internal/hold"
	"countersign/providers"
	"countersign/providers/microsoft365"
	"countersign/providers/microsoft365/signin"
)

// Providers is for app.Options.
func Providers() map[string]app.Opener { return map[string]app.Opener{"microsoft365": Open} }

var _ app.Opener = Open

// Open opens one directory's provider, and the pages of its sign-in where the mode has one.
func Open(o app.ProviderOptions) (providers.Verifier, error) {
	c := o.Config
	m := microsoft365.Options{
		Name: o.Name, TenantID: c.TenantID, Mode: microsoft365.Mode(c.Mode), ClientID: c.ClientID,
		Certificate: microsoft365.Secret(c.Certificate.Reveal()), ClientSecret: microsoft365.Secret(c.ClientSecret.Reveal()),
		WorkloadIdentity: microsoft365.WorkloadIdentity{TokenFile: c.WorkloadIdentity.TokenFile},
		Connector: microsoft365.Connector{
			Certificate: microsoft365.Secret(c.Connector.Certificate.Reveal()), Secret: microsoft365.Secret(c.Connector.Secret.Reveal()),
		},
		Cloud: microsoft365.Cloud(c.Cloud), URLs: microsoft365.URLs{Login: c.URLs.Login, Graph: c.URLs.Graph, Connector: c.URLs.Connector},
		RootCAs: o.RootCAs, Logger: o.Logger,
	}
	if m.Mode == microsoft365.SignIn || m.Mode == microsoft365.PushThenSignIn {
		pages, err := openSignIn(o)
		if err != nil {
			return nil, err
		}
		m.SignIn = pages
	}
	return microsoft365.Open(m)
}

// logins are where the users of each cloud sign in.
var logins = map[string]string{"": "https://login.microsoftonline.com", "usgov": "https://login.microsoftonline.us", "china": "https://login.partner.microsoftonline.cn"}

func openSignIn(o app.ProviderOptions) (*signin.Verifier, error) {
	if o.BaseURL == "" {
		return nil, errors.New("mode sign_in needs listen.callback, where its pages are served")
	}
	c := o.Config
	login := c.URLs.Login
	if login == "" {
		login = logins[c.Cloud]
	}
	return signin.Open(signin.Options{
		Name: o.Name, BaseURL: o.BaseURL, Path: o.PagePath, TenantID: c.TenantID, Login: login, ClientID: c.ClientID,
		Certificate: signin.Secret(c.Certificate.Reveal()), ClientSecret: signin.Secret(c.ClientSecret.Reveal()),
		TokenFile: c.WorkloadIdentity.TokenFile, AuthContext: c.AuthContext, PhishingResistant: c.PhishingResistant,
		Store: store{o.Shelf, o.Name}, RootCAs: o.RootCAs, Logger: o.Logger,
	})
}

// store keeps open sign-ins in the ledger, so that a browser may reach any replica.
type store struct {
	shelf app.Shelf
	name  string
}

var _ signin.Store = store{}

func (s store) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.shelf.Load(ctx, s.name+"."+key)
}

func (s store) Store(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	next, err := s.shelf.Store(ctx, s.name+"."+key, value, rev, ttl)
	if errors.Is(err, hold.ErrStale) {
		return 0, fmt.Errorf("%w: %w", signin.ErrConflict, err)
	}
	return next, err
}
