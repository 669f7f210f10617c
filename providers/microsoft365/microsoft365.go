// Package microsoft365 asks a person through Microsoft 365: by a push to their Microsoft Authenticator, or by a sign-in on a
// page of ours where a push cannot reach them.
//
// Microsoft Graph has no call that sends such a push. It goes through the service behind the NPS extension and the AD FS
// adapter, here called the Connector, which answers in XML and shows a plain approve or deny without any text. Graph, by
// Microsoft's own SDK, turns the requester into an immutable id first, and says which methods they have registered.
//
// Nothing but Success together with AuthenticationResult true, at the end of the session that this package began for this
// person, is an approval. A session that merely started, a challenge and every value that Microsoft may invent are none.
package microsoft365

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"countersign/providers"
)

var (
	_ providers.Verifier     = (*Verifier)(nil)
	_ providers.Limiter      = (*Verifier)(nil)
	_ providers.Capable      = (*Verifier)(nil)
	_ providers.Accounter    = (*Verifier)(nil)
	_ providers.Prober       = (*Verifier)(nil)
	_ providers.Pager        = (*Verifier)(nil)
	_ providers.Canceler     = (*Verifier)(nil)
	_ providers.Corroborator = (*Verifier)(nil)
	_ providers.Checker      = (*Verifier)(nil)
)

// Mode says how people are asked.
type Mode string

// The modes.
const (
	Push           Mode = "push"    // what "" means
	SignIn         Mode = "sign_in" // by Options.SignIn only
	PushThenSignIn Mode = "push_then_sign_in"
)

// Options configure a Verifier.
type Options struct {
	Name     string // of the provider in the configuration, for logs; "" is "microsoft365"
	TenantID string // the directory's id, not a domain name
	Mode     Mode

	// ClientID is the application that reads the directory through Graph, with exactly one of the three credentials.
	ClientID         string
	Certificate      Secret // PEM: the certificate and its RSA key
	ClientSecret     Secret
	WorkloadIdentity WorkloadIdentity

	Connector Connector // not for mode sign_in

	SignIn providers.Verifier // for the modes that end in a sign-in

	Cloud   Cloud
	URLs    URLs             // stand-ins; "" each is Microsoft's own
	RootCAs *x509.CertPool   // nil: the system's roots
	Logger  *slog.Logger     // nil: no log
	Now     func() time.Time // nil: time.Now; stamps outcomes and tokens

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests only
}

// WorkloadIdentity is a token that the platform renews in a file, as Azure Workload Identity does in Kubernetes.
type WorkloadIdentity struct{ TokenFile string }

// Connector is a credential of the MFA client, an application of Microsoft's that each directory has: a certificate or a
// secret that an administrator added to its service principal. Setup does that.
type Connector struct {
	Certificate Secret // PEM: the certificate and its RSA key
	Secret      Secret
}

// pushLimit is how long a push can be answered: the Connector forgets a session after three minutes.
const pushLimit = 3 * time.Minute

// signInLimit bounds a sign-in whose verifier names no limit of its own.
const signInLimit = 10 * time.Minute

// Verifier asks people of one directory. It is safe for concurrent use.
type Verifier struct {
	tenant    string // lower case
	mode      Mode
	graph     *graphClient
	connector *connector // nil in mode sign_in
	signIn    providers.Verifier
	now       func() time.Time
	log       *slog.Logger
	over      book
}

// Open returns a Verifier for one directory. It makes no call.
func Open(o Options) (*Verifier, error) {
	if o.Name == "" {
		o.Name = "microsoft365"
	}
	if o.Mode == "" {
		o.Mode = Push
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var bad []error
	refuse := func(err error) {
		if err != nil {
			bad = append(bad, err)
		}
	}
	if !guidShape.MatchString(o.TenantID) {
		refuse(errors.New("microsoft365: tenant_id must be the directory's id, such as 11111111-2222-3333-4444-555555555555"))
	}
	refuse(o.checkMode())
	at, err := o.endpoints()
	refuse(err)
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	v := &Verifier{
		tenant: strings.ToLower(o.TenantID), mode: o.Mode, signIn: o.SignIn, now: o.Now,
		log: o.Logger.With(slog.String("provider", o.Name)),
	}
	v.graph, err = newGraph(o, at)
	refuse(err)
	if o.Mode != SignIn {
		v.connector, err = newConnector(o, at)
		refuse(err)
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return v, nil
}

func (o Options) checkMode() error {
	switch o.Mode {
	case Push:
	case SignIn, PushThenSignIn:
		if o.SignIn == nil {
			return fmt.Errorf("microsoft365: mode %s needs a sign-in", string(o.Mode))
		}
	default:
		return fmt.Errorf("microsoft365: mode is %q: want push, sign_in or push_then_sign_in", string(o.Mode))
	}
	return nil
}

// Limit returns how long the longest way of asking takes.
func (v *Verifier) Limit() time.Duration {
	if v.mode == Push {
		return pushLimit
	}
	limit := signInLimit
	if l, ok := v.signIn.(providers.Limiter); ok && l.Limit() > 0 {
		limit = l.Limit()
	}
	if v.mode == SignIn {
		return limit
	}
	return max(limit, pushLimit)
}

// Capabilities returns what the sign-in can do, which is asked first where policy wants any of it: a push shows no text.
func (v *Verifier) Capabilities() []string {
	if c, ok := v.signIn.(providers.Capable); ok && v.mode != Push {
		return c.Capabilities()
	}
	return nil
}

// Pages returns the sign-in's pages; nil where the mode has none.
func (v *Verifier) Pages() http.Handler {
	if p, ok := v.signIn.(providers.Pager); ok && v.mode != Push {
		return p.Pages()
	}
	return nil
}

// Cancel takes a sign-in back. A push cannot be: Microsoft has no call for it.
func (v *Verifier) Cancel(ctx context.Context, transaction string) error {
	inner, ok := v.signInTransaction(transaction)
	if c, can := v.signIn.(providers.Canceler); ok && can {
		return c.Cancel(ctx, inner)
	}
	return errNoCancel
}

var (
	errNoCancel = errors.New("microsoft365: this cannot be taken back")
	guidShape   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// plainName says whether a name is fit to stand in a request: a UPN or e-mail address.
func plainName(id string) bool {
	local, domain, ok := strings.Cut(id, "@")
	return ok && local != "" && domain != "" && !strings.Contains(domain, "@") && len(id) <= 255 && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, func(r rune) bool {
			return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune(`/\?%"<>`, r)
		})
}
