package config

import (
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Provider is one verification provider. Type says which of the other fields count: those of another type are a mistake.
type Provider struct {
	Type    string            `yaml:"type"`
	RootCAs string            `yaml:"root_cas" path:"file"`
	Tenants []string          `yaml:"tenants"` // only people of these directories; none, with no domains: everybody
	Domains []string          `yaml:"domains"` // only people of these domains
	Users   map[string]string `yaml:"users"`   // requester → what the provider calls them; who is not listed is as they are

	// duo
	Host           string `yaml:"host" for:"duo"`
	IntegrationKey string `yaml:"integration_key" for:"duo"`
	SecretKey      Secret `yaml:"secret_key" for:"duo"`
	Username       string `yaml:"username" for:"duo traceless"` // "upn", "email" or, for Duo, "localpart"
	VerifiedPush   bool   `yaml:"verified_push" for:"duo"`      // a sink shows the code

	// microsoft365
	TenantID          string           `yaml:"tenant_id" for:"microsoft365"`
	ClientID          string           `yaml:"client_id" for:"microsoft365"`
	Certificate       Secret           `yaml:"certificate" path:"pem" for:"microsoft365"` // PEM or its file: certificate and key
	ClientSecret      Secret           `yaml:"client_secret" for:"microsoft365"`
	WorkloadIdentity  WorkloadIdentity `yaml:"workload_identity" for:"microsoft365"`
	Connector         Connector        `yaml:"connector" for:"microsoft365"`
	Mode              string           `yaml:"mode" for:"microsoft365"` // "push", "sign_in" or "push_then_sign_in"
	Cloud             string           `yaml:"cloud" for:"microsoft365"`
	URLs              URLs             `yaml:"urls" for:"microsoft365"`
	AuthContext       string           `yaml:"auth_context" for:"microsoft365"`
	PhishingResistant bool             `yaml:"phishing_resistant" for:"microsoft365"`

	// traceless
	Endpoint      string  `yaml:"endpoint" for:"traceless"`
	Organization  string  `yaml:"organization" for:"traceless"`
	SigningSecret Secret  `yaml:"signing_secret" for:"traceless"`
	PushMethod    string  `yaml:"push_method" for:"traceless"`
	Adapter       Adapter `yaml:"adapter" for:"traceless"`
}

// WorkloadIdentity is a token that the platform renews in a file.
type WorkloadIdentity struct {
	TokenFile string `yaml:"token_file" path:"file"`
}

// Connector is the credential of the MFA client's service principal.
type Connector struct {
	Certificate Secret `yaml:"certificate" path:"pem"`
	Secret      Secret `yaml:"secret"`
}

// URLs are stand-ins for Microsoft's own hosts.
type URLs struct {
	Login     string `yaml:"login"`
	Graph     string `yaml:"graph"`
	Connector string `yaml:"connector"`
}

// Adapter says how Traceless is spoken to, where that differs from the defaults (docs/providers/traceless.md).
type Adapter struct {
	Start          AdapterRequest    `yaml:"start"`
	Poll           AdapterRequest    `yaml:"poll"`
	Check          AdapterRequest    `yaml:"check"`
	Headers        map[string]string `yaml:"headers"`
	Signing        AdapterSigning    `yaml:"signing"`
	SecretEncoding string            `yaml:"secret_encoding"`
	Started        AdapterFields     `yaml:"started"`
	Polled         AdapterFields     `yaml:"polled"`
	Statuses       map[string]string `yaml:"statuses"`
	Callback       AdapterCallback   `yaml:"callback"`
	Capabilities   []string          `yaml:"capabilities"`
	Interval       time.Duration     `yaml:"interval"`
}

// AdapterRequest is a template of one request.
type AdapterRequest struct {
	Method string `yaml:"method"`
	Path   string `yaml:"path"`
	Body   string `yaml:"body"`
}

// AdapterSigning is how a request or a callback is signed.
type AdapterSigning struct {
	Header          string   `yaml:"header"`
	TimestampHeader string   `yaml:"timestamp_header"`
	Timestamp       string   `yaml:"timestamp"`
	Encoding        string   `yaml:"encoding"`
	Prefix          string   `yaml:"prefix"`
	Pieces          []string `yaml:"pieces"`
	Separator       string   `yaml:"separator"`
}

// AdapterFields are JSON Pointers into an answer.
type AdapterFields struct {
	ID           string `yaml:"id"`
	Status       string `yaml:"status"`
	Organization string `yaml:"organization"`
	Email        string `yaml:"email"`
	Method       string `yaml:"method"`
	Error        string `yaml:"error"`
}

// AdapterCallback is what a callback looks like.
type AdapterCallback struct {
	Signing      AdapterSigning `yaml:"signing"`
	Secret       Secret         `yaml:"secret"`
	Tolerance    time.Duration  `yaml:"tolerance"`
	ID           string         `yaml:"id"`
	Organization string         `yaml:"organization"`
}

// ProviderTypes are the kinds of provider there are.
var providerTypes = []string{"duo", "microsoft365", "traceless"}

func (c Config) providers(ch *checks) {
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		p, path := c.Providers[name], "providers."+name
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' }) {
			ch.fail(path, "a provider's name has lower-case letters, digits, - and _ only")
		}
		switch p.Type {
		case "duo":
			p.duo(ch, path)
			if p.VerifiedPush && !slices.ContainsFunc(c.Notify, func(s Sink) bool { return s.Codes }) {
				ch.fail(path+".verified_push", "needs a notification sink with codes: true, or nobody is shown the code")
			}
		case "microsoft365":
			p.microsoft365(ch, path, c)
		case "traceless":
			p.traceless(ch, path)
		case "":
			ch.fail(path+".type", "is missing: %s", strings.Join(providerTypes, ", "))
			continue
		default:
			ch.oneOf(path+".type", p.Type, providerTypes...)
			continue
		}
		p.misplaced(ch, path)
	}
}

// misplaced names keys that belong to another type of provider: nothing would come of them.
func (p Provider) misplaced(ch *checks, path string) {
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if of := f.Tag.Get("for"); of != "" && !v.Field(i).IsZero() && !slices.Contains(strings.Fields(of), p.Type) {
			ch.fail(path+"."+f.Tag.Get("yaml"), "does not belong to a provider of type %s", p.Type)
		}
	}
}

func (p Provider) duo(ch *checks, path string) {
	if p.Host == "" || strings.ContainsAny(p.Host, "/@ ") {
		ch.fail(path+".host", "must be the API hostname of the Duo application, such as api-1234abcd.duosecurity.com")
	}
	if p.IntegrationKey == "" {
		ch.fail(path+".integration_key", "is missing")
	}
	if !p.SecretKey.Set() {
		ch.fail(path+".secret_key", "is missing")
	}
	if p.Username != "" {
		ch.oneOf(path+".username", p.Username, "upn", "email", "localpart")
	}
}

func (p Provider) microsoft365(ch *checks, path string, c Config) {
	for key, value := range map[string]string{"tenant_id": p.TenantID, "client_id": p.ClientID} {
		if value == "" {
			ch.fail(path+"."+key, "is missing")
		}
	}
	if n := count(p.Certificate.Set(), p.ClientSecret.Set(), p.WorkloadIdentity.TokenFile != ""); n != 1 {
		ch.fail(path, "needs exactly one of certificate, client_secret and workload_identity.token_file")
	}
	if p.Mode != "" {
		ch.oneOf(path+".mode", p.Mode, "push", "sign_in", "push_then_sign_in")
	}
	signIn := p.Mode == "sign_in" || p.Mode == "push_then_sign_in"
	if n := count(p.Connector.Certificate.Set(), p.Connector.Secret.Set()); p.Mode != "sign_in" && n != 1 {
		ch.fail(path+".connector", "needs either certificate or secret: countersign setup microsoft365 makes the first")
	}
	if signIn && c.Listen.Callback == "" {
		ch.fail("listen.callback", "is needed for the sign-in pages of %s", path)
	}
	if p.Cloud != "" {
		ch.oneOf(path+".cloud", p.Cloud, "usgov", "china")
	}
	for key, value := range map[string]string{"login": p.URLs.Login, "graph": p.URLs.Graph, "connector": p.URLs.Connector} {
		if value != "" && !secureURL(value) {
			ch.fail(path+".urls."+key, "must be an https URL, or http on a loopback address")
		}
	}
}

func (p Provider) traceless(ch *checks, path string) {
	for key, value := range map[string]string{"endpoint": p.Endpoint, "organization": p.Organization, "push_method": p.PushMethod} {
		if value == "" {
			ch.fail(path+"."+key, "is missing")
		}
	}
	if !p.SigningSecret.Set() {
		ch.fail(path+".signing_secret", "is missing")
	}
	if p.Username != "" {
		ch.oneOf(path+".username", p.Username, "upn", "email")
	}
	if p.Endpoint != "" && !secureURL(p.Endpoint) {
		ch.fail(path+".endpoint", "must be an https URL, or http on a loopback address")
	}
}

// secureURL reports whether s is an absolute https URL, or http where nobody else can listen.
func secureURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}
