// Package duo asks a person through Duo Push, by the Duo Auth API v2. It stands on Duo's own Go library for hosts,
// pinned roots, parameters and signatures, behind an adapter that mends what the library gets wrong (client.go).
//
// Nothing but a complete answer of result allow and status allow to a push that this package sent is an approval.
// A bypass, a remembered device, a trusted network and every value that Duo may invent are none.
package duo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"countersign/providers"
)

var (
	_ providers.Verifier = (*Verifier)(nil)
	_ providers.Checker  = (*Verifier)(nil)
	_ providers.Capable  = (*Verifier)(nil)
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

// Username says how Duo's usernames come from a person's UPN or e-mail.
type Username string

// The ways to name a person to Duo.
const (
	UPN       Username = "upn"       // as it is; also what "" means
	LocalPart Username = "localpart" // what stands before the @; only where a single domain asks, see docs/providers/duo.md
)

// Options configure a Verifier.
type Options struct {
	Name           string // of the provider in the configuration, for logs; "" is "duo"
	Host           string // api-XXXXXXXX.duosecurity.com; may carry a port
	IntegrationKey string
	SecretKey      Secret
	Username       Username
	VerifiedPush   bool             // somebody shows the requester the code that a verified push asks for
	RootCAs        *x509.CertPool   // nil: the roots that Duo's library pins
	Logger         *slog.Logger     // nil: no log
	Now            func() time.Time // nil: time.Now; stamps outcomes

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests only
}

// Verifier asks people by Duo Push. It is safe for concurrent use.
type Verifier struct {
	api      *client
	username Username
	verified bool
	now      func() time.Time
	log      *slog.Logger
}

// Open returns a Verifier for one Auth API application. It makes no call.
func Open(o Options) (*Verifier, error) {
	var bad []error
	if err := checkHost(o.Host); err != nil {
		bad = append(bad, err)
	}
	if o.IntegrationKey == "" || strings.ContainsFunc(o.IntegrationKey, notKeyRune) {
		bad = append(bad, errors.New("duo: integration_key is missing or malformed"))
	}
	if o.SecretKey == "" || strings.ContainsFunc(string(o.SecretKey), notKeyRune) {
		bad = append(bad, errors.New("duo: secret_key is missing or malformed"))
	}
	switch o.Username {
	case "":
		o.Username = UPN
	case UPN, LocalPart:
	default:
		bad = append(bad, fmt.Errorf("duo: username is %q: want upn or localpart", string(o.Username)))
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	if o.Name == "" {
		o.Name = "duo"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Verifier{
		api: newClient(o), username: o.Username, verified: o.VerifiedPush, now: o.Now,
		log: o.Logger.With(slog.String("provider", o.Name)),
	}, nil
}

func notKeyRune(r rune) bool { return r <= ' ' || r > '~' || r == ':' }

func checkHost(host string) error {
	u, err := url.Parse("https://" + host)
	if err != nil || host == "" || u.Host != host || u.Hostname() == "" || u.User != nil {
		return errors.New("duo: host must be a name such as api-XXXXXXXX.duosecurity.com, with a port if need be")
	}
	return nil
}

// Capabilities says that a push shows text: the operation is on the phone's screen. Where codes are shown, Duo's policy may
// ask for one; whether it does shows only when the person is looked up, and a challenge that needs it is not sent without.
func (v *Verifier) Capabilities() []string {
	if v.verified {
		return []string{"text", numberMatch}
	}
	return []string{"text"}
}

const numberMatch = "number_match"

// Check tries host, clock, keys and signature without asking anybody.
func (v *Verifier) Check(ctx context.Context) error {
	_, err := v.api.check(ctx)
	return err
}

// name returns what Duo calls the person; "" when there is no name fit to send.
func (v *Verifier) name(p providers.Person) string {
	id := p.ID
	if v.username == LocalPart {
		local, domain, ok := strings.Cut(id, "@")
		if ok && (domain == "" || strings.Contains(domain, "@")) {
			return ""
		}
		id = local
	}
	if len(id) > 255 || !utf8.ValidString(id) || strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return ""
	}
	return id
}
