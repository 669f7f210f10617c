// Package signin asks a person through a web page of ours: it shows what is about to happen, and a sign-in at the
// organisation's OpenID provider (Microsoft Entra ID) proves who pressed the button. It is what Microsoft 365 falls
// back to where no push can be sent, and it lets the person answer with whatever method they have registered.
//
// The link may be seen by anybody: the chat, the agent, a link scanner. So nothing that comes with the link decides
// anything. An approval needs all of these, and whatever is missing or unknown is none:
//
//   - a POST from our own page, in a browser that holds our cookie, which binds state, nonce and PKCE to that browser;
//   - the code that the provider sent back to the same browser, for a state that was never used before;
//   - an ID token with the right signature, issuer, audience and nonce, for the person's immutable tid and oid;
//   - proof of a second factor in it (the authentication context that was asked for, or amr with mfa);
//   - an auth_time that is not before this very question was answered.
package signin

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/providers"
)

var (
	_ providers.Verifier = (*Verifier)(nil)
	_ providers.Pager    = (*Verifier)(nil)
	_ providers.Limiter  = (*Verifier)(nil)
	_ providers.Capable  = (*Verifier)(nil)
	_ providers.Canceler = (*Verifier)(nil)
	_ providers.Checker  = (*Verifier)(nil)
)

const (
	limit = 3 * time.Minute // how long a person has, as with a push of Microsoft's
	// clockSkew is by how much auth_time, which counts whole seconds of the provider's clock, may seem to lie before the
	// press of the button or after now.
	clockSkew = 5 * time.Second
	pollEvery = time.Second // how soon an answer that another replica took is seen
)

// Secret is a key that does not print itself.
type Secret string

// Format writes a placeholder whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) } // nothing to do about a failed print

// String returns a placeholder.
func (Secret) String() string { return "[secret]" }

// MarshalText returns a placeholder, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue returns a placeholder, for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Options configure a Verifier.
type Options struct {
	Name string // of the provider in the configuration, for logs; "" is "microsoft365"

	// BaseURL is how browsers reach the listener that serves Pages: a scheme and a host, no path. https, or http on
	// loopback. Requests whose Host is another are refused.
	BaseURL string
	// Path is where on that listener the pages are; "" is "/sign-in". The redirect URI to register is
	// BaseURL + Path + "/callback".
	Path string

	// TenantID is the directory's id, and Login where its users sign in; "" is https://login.microsoftonline.com. Only
	// people of that tenant are asked.
	TenantID string
	Login    string
	// Issuer names the OpenID provider directly, instead of TenantID and Login. Its ID tokens must carry tid and oid.
	Issuer string

	// ClientID is the application that people sign in to, with exactly one of the three credentials.
	ClientID     string
	Certificate  Secret // PEM: the certificate and its RSA key
	ClientSecret Secret
	TokenFile    string // a token that the platform renews there (workload identity)

	// AuthContext is a Conditional Access authentication context ("c1") that every approval must satisfy. Without one, the
	// ID token must say amr "mfa", which Entra's v2.0 tokens do not: see docs/providers/microsoft365-sign-in.md.
	AuthContext string
	// PhishingResistant declares that AuthContext admits phishing-resistant methods only.
	PhishingResistant bool

	// Store keeps what is open; replicas that share it serve the same pages. nil: in this process only.
	Store Store
	// Resolve finds ObjectID and TenantID of a person whose assertion did not carry them. nil: such a person is not asked.
	Resolve func(ctx context.Context, p providers.Person) (providers.Person, error)

	RootCAs *x509.CertPool   // nil: the system's
	Logger  *slog.Logger     // nil: no log
	Now     func() time.Time // nil: time.Now

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests only
}

// Verifier asks people by a page and a sign-in. It is safe for concurrent use.
type Verifier struct {
	o     Options
	base  *url.URL
	op    *openid
	pages *template.Template
	log   *slog.Logger
}

var (
	guidShape    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	contextShape = regexp.MustCompile(`^c[1-9][0-9]?$`)
	clientShape  = regexp.MustCompile(`^[!-~]{1,200}$`)
)

// Open returns a Verifier for one application registration. It makes no call.
func Open(o Options) (*Verifier, error) {
	var bad []error
	miss := func(err error) {
		if err != nil {
			bad = append(bad, err)
		}
	}
	base, err := checkURL("base URL", o.BaseURL)
	miss(err)
	if err == nil && base.Path != "" {
		miss(errors.New("signin: base URL must have no path: use Path"))
	}
	if o.Path == "" {
		o.Path = "/sign-in"
	}
	if !strings.HasPrefix(o.Path, "/") || path.Clean(o.Path) != o.Path || o.Path == "/" || strings.ContainsFunc(o.Path, notPathRune) {
		miss(errors.New("signin: path must start with / and be made of letters, digits, -, _, . and /"))
	}
	miss(checkIssuer(&o))
	if !clientShape.MatchString(o.ClientID) {
		miss(errors.New("signin: client_id is missing or malformed"))
	}
	cred, err := newCredential(o)
	miss(err)
	if o.AuthContext != "" && !contextShape.MatchString(o.AuthContext) {
		miss(fmt.Errorf("signin: authentication context is %q: want c1 to c99", o.AuthContext))
	}
	if o.PhishingResistant && o.AuthContext == "" {
		miss(errors.New("signin: phishing_resistant needs an authentication context that enforces it"))
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	if o.Name == "" {
		o.Name = "microsoft365"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Store == nil {
		o.Store = NewMemory()
	}
	pages, err := parsePages()
	if err != nil {
		return nil, err
	}
	v := &Verifier{o: o, base: base, pages: pages, log: o.Logger.With(slog.String("provider", o.Name))}
	v.op = newOpenID(v.o, cred, v.url("callback"))
	return v, nil
}

func notPathRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
}

// checkIssuer fills in the issuer that TenantID and Login make.
func checkIssuer(o *Options) error {
	if o.Issuer != "" {
		if o.TenantID != "" || o.Login != "" {
			return errors.New("signin: give either an issuer, or tenant_id and login")
		}
		_, err := checkURL("issuer", o.Issuer)
		return err
	}
	if !guidShape.MatchString(o.TenantID) {
		return errors.New("signin: tenant_id must be the directory's id, not a domain name: tokens name their issuer by it")
	}
	if o.Login == "" {
		o.Login = "https://login.microsoftonline.com"
	}
	o.TenantID = strings.ToLower(o.TenantID)
	if _, err := checkURL("login URL", o.Login); err != nil {
		return err
	}
	o.Issuer = strings.TrimSuffix(o.Login, "/") + "/" + o.TenantID + "/v2.0"
	return nil
}

// checkURL accepts https, and http to this machine.
func checkURL(what, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("signin: %s must be a URL such as https://countersign.example.com", what)
	}
	if !secure(u) {
		return nil, fmt.Errorf("signin: %s must be https, or http on loopback", what)
	}
	u.Host = canonicalHost(u.Scheme, u.Host)
	if what == "base URL" {
		u.Path = strings.TrimSuffix(u.Path, "/")
	}
	return u, nil
}

// canonicalHost makes hosts comparable: lower case, without the scheme's own port.
func canonicalHost(scheme, host string) string {
	return strings.TrimSuffix(strings.ToLower(host), map[string]string{"https": ":443", "http": ":80"}[scheme])
}

func secure(u *url.URL) bool {
	switch u.Scheme {
	case "https":
		return true
	case "http":
		ip := net.ParseIP(u.Hostname())
		return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	default:
		return false
	}
}

// url returns the address of a page.
func (v *Verifier) url(page string) string { return v.base.String() + v.o.Path + "/" + page }

// Limit says how long a person has.
func (v *Verifier) Limit() time.Duration { return limit }

// Capabilities says that the page shows the operation, and whether the sign-in resists phishing.
func (v *Verifier) Capabilities() []string {
	can := []string{"text"}
	if v.o.PhishingResistant {
		can = append(can, "phishing_resistant")
	}
	return slices.Clip(can)
}

// Pages serves what the person sees, and the callback of the OpenID provider, below Options.Path.
func (v *Verifier) Pages() http.Handler { return v.handler() }

// Check tries the OpenID provider, its keys and our credentials there, without asking anybody.
func (v *Verifier) Check(ctx context.Context) error { return v.op.check(ctx) }
