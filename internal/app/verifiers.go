package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"countersign/internal/config"
	"countersign/internal/hold"
	"countersign/internal/notify"
	"countersign/providers"
	"countersign/providers/duo"
	"countersign/providers/traceless"
)

// ProviderOptions is what an Opener is given.
type ProviderOptions struct {
	Name    string
	Config  config.Provider
	RootCAs *x509.CertPool // instead of the provider's own; nil: those
	// BaseURL is how browsers reach the callback listener, "" when there is none, and PagePath where this provider's pages
	// are on it.
	BaseURL  string
	PagePath string
	Shelf    Shelf
	Logger   *slog.Logger
}

// Shelf keeps what a provider has to remember between replicas: the ledger. Where there is none, Load returns nil and 0; a
// Store of a document that is at another revision returns an error that wraps hold.ErrStale.
type Shelf interface {
	Load(ctx context.Context, key string) (value []byte, rev uint64, err error)
	Store(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error)
}

// Opener opens one kind of provider. It dials nothing.
type Opener func(ProviderOptions) (providers.Verifier, error)

// openers are the kinds that every build has; Options.Providers adds to them.
func openers(more map[string]Opener) map[string]Opener {
	all := map[string]Opener{"duo": openDuo, "traceless": openTraceless}
	for kind, open := range more {
		all[kind] = open
	}
	return all
}

// factorsOf names, as the catalog does, the APIs that can change what a provider asks by.
func factorsOf(p config.Provider) []string {
	if p.Type == "duo" || p.Type == "traceless" && p.PushMethod == traceless.DuoPush {
		return []string{"duo-admin"}
	}
	microsoft := []string{"microsoft-graph", "aad-graph", "microsoft-portals"}
	if strings.HasSuffix(p.Mode, "sign_in") { // with whatever factor the directory takes, and that may be Duo's
		return append(microsoft, "duo-admin")
	}
	return microsoft
}

// openVerifiers opens the configured providers in order of preference.
func openVerifiers(c config.Config, more map[string]Opener, base ProviderOptions) ([]hold.Named, error) {
	kinds := openers(more)
	var out []hold.Named
	for _, name := range c.ProviderNames() {
		p := c.Providers[name]
		open, ok := kinds[p.Type]
		if !ok { // config.Load refuses what nobody knows
			return nil, fmt.Errorf("providers.%s: this build has no providers of type %s", name, p.Type)
		}
		if p.VerifiedPush && !showsCodes(c) {
			return nil, &config.Problems{File: "the configuration", List: []config.Problem{{
				Path: "providers." + name + ".verified_push", Text: "needs a sink under notify with codes: true that takes hold.prompted, to show the person the code",
			}}}
		}
		o := base
		o.Name, o.Config, o.PagePath = name, p, pagePath(name)
		var err error
		if o.RootCAs, err = rootPool(p.RootCAs); err != nil {
			return nil, fmt.Errorf("providers.%s.root_cas: %w", name, err)
		}
		v, err := open(o)
		if err != nil {
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
		named := hold.Named{Name: name, Verifier: v, Tenants: p.Tenants, Domains: p.Domains, Factors: factorsOf(p), Map: userOf(p)}
		if p.Type == "microsoft365" && len(p.Tenants) == 0 && len(p.Domains) == 0 && severalDirectories(c) {
			named.Tenants = []string{p.TenantID} // each directory knows its own people only
		}
		out = append(out, named)
	}
	return out, nil
}

// showsCodes reports whether any sink shows the code that a verified push asks for.
func showsCodes(c config.Config) bool {
	return slices.ContainsFunc(c.Notify, func(s config.Sink) bool {
		takes := func(glob string) bool {
			ok, err := path.Match(glob, string(notify.HoldPrompted))
			return ok && err == nil
		}
		return s.Codes && (len(s.Events) == 0 || slices.ContainsFunc(s.Events, takes))
	})
}

func severalDirectories(c config.Config) bool {
	n := 0
	for _, name := range c.ProviderNames() {
		if c.Providers[name].Type == "microsoft365" {
			n++
		}
	}
	return n > 1
}

// byEmail is the username by which a provider knows people by their assertion's email claim.
const byEmail = "email"

// userOf turns a requester into the provider's user: by the table of the configuration, else by their e-mail where that is
// what the provider knows. Whose assertion has none is not known there.
func userOf(p config.Provider) func(providers.Person) (providers.Person, bool) {
	table := map[string]string{}
	for requester, user := range p.Users {
		table[strings.ToLower(requester)] = user
	}
	if len(table) == 0 && p.Username != byEmail {
		return nil
	}
	return func(q providers.Person) (providers.Person, bool) {
		if user, ok := table[strings.ToLower(q.ID)]; ok {
			if !strings.EqualFold(q.ID, user) { // the requester's own ids would lead back to them
				q.ObjectID, q.TenantID = "", ""
			}
			q.ID = user
			return q, user != "" // an empty entry: not this person, by this provider
		}
		if p.Username == byEmail {
			q.ID = q.Email
			return q, q.ID != ""
		}
		return q, true
	}
}

func openDuo(o ProviderOptions) (providers.Verifier, error) {
	username := duo.UPN
	if o.Config.Username != "" && o.Config.Username != byEmail { // userOf has put the e-mail in the UPN's place
		username = duo.Username(o.Config.Username)
	}
	return duo.Open(duo.Options{
		Name: o.Name, Host: o.Config.Host, IntegrationKey: o.Config.IntegrationKey, SecretKey: duo.Secret(o.Config.SecretKey.Reveal()),
		Username: username, VerifiedPush: o.Config.VerifiedPush, RootCAs: o.RootCAs, Logger: o.Logger,
	})
}

func openTraceless(o ProviderOptions) (providers.Verifier, error) {
	c, a := o.Config, o.Config.Adapter
	return traceless.Open(traceless.Options{
		Name: o.Name, Endpoint: c.Endpoint, Organization: c.Organization, SigningSecret: traceless.Secret(c.SigningSecret.Reveal()),
		SecretEncoding: a.SecretEncoding, PushMethod: c.PushMethod,
		Start: traceless.Request(a.Start), Poll: traceless.Request(a.Poll), Check: traceless.Request(a.Check), Headers: a.Headers,
		Signing: traceless.Signing(a.Signing), Started: traceless.Fields(a.Started), Polled: traceless.Fields(a.Polled), Statuses: a.Statuses,
		Callback: traceless.Callback{
			Signing: traceless.Signing(a.Callback.Signing), Secret: traceless.Secret(a.Callback.Secret.Reveal()), Tolerance: a.Callback.Tolerance,
			ID: a.Callback.ID, Organization: a.Callback.Organization,
		},
		Capabilities: a.Capabilities, Interval: a.Interval, RootCAs: o.RootCAs, Logger: o.Logger,
	})
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
