package entra

import (
	"cmp"
	"crypto"
	"crypto/sha1" //nolint:gosec // x5t is a SHA-1 thumbprint by definition (RFC 7515 §4.1.7)
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// App is an application with its service principal in the tenant.
type App struct {
	ClientID     string // made up when empty
	ObjectID     string // of the service principal; made up when empty
	DisplayName  string
	Secrets      []string
	Certificates []*x509.Certificate
	Federated    []Federated
	Roles        []string // application permissions for Graph, consented
	Scopes       []string // delegated permissions for Graph, consented for everybody
	RedirectURIs []string
	Disabled     bool
}

// Federated is a federated identity credential: tokens of a workload's own issuer stand for the application.
type Federated struct {
	Issuer, Subject string
	Audience        string // "" is api://AzureADTokenExchange
	Keys            []crypto.PublicKey
}

// ReadRoles returns the application permissions that Countersign reads Graph with.
func ReadRoles() []string {
	return []string{"User.Read.All", "UserAuthenticationMethod.Read.All", "AuditLog.Read.All", "Directory.Read.All"}
}

// app is an App with credentials that have a life.
type app struct {
	App
	secrets []*secret
	certs   []*certificate
}

type secret struct {
	keyID, text, name string
	start, end, known time.Time // known: when the token endpoint has heard of it
}

type certificate struct {
	keyID, name       string
	der               []byte
	cert              *x509.Certificate
	start, end, known time.Time
}

// AddApp adds an application, or replaces the one of the same client id. Its credentials work at once.
func (s *Server) AddApp(a App) error {
	a.ClientID, a.ObjectID = strings.ToLower(cmp.Or(a.ClientID, newID())), cmp.Or(a.ObjectID, newID())
	a.DisplayName = cmp.Or(a.DisplayName, a.ClientID)
	n := &app{App: a}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range a.Secrets {
		n.secrets = append(n.secrets, &secret{keyID: newID(), text: text, start: s.now(), end: s.now().AddDate(1, 0, 0), known: s.now()})
	}
	for _, c := range a.Certificates {
		if c == nil {
			return fmt.Errorf("entra simulator: app %s: a certificate is nil", a.DisplayName)
		}
		n.certs = append(n.certs, &certificate{keyID: newID(), name: c.Subject.String(), der: c.Raw, cert: c, start: c.NotBefore, end: c.NotAfter, known: s.now()})
	}
	s.apps = append(slices.DeleteFunc(s.apps, func(o *app) bool { return o.ClientID == a.ClientID }), n)
	return nil
}

// AddMFACredential puts a secret, a certificate or both on the MFA client's service principal, as the set-up does, with
// no propagation delay.
func (s *Server) AddMFACredential(text string, cert *x509.Certificate) error {
	a := App{ClientID: MFAClientID, DisplayName: "Azure Multi-Factor Auth Client", Disabled: s.o.MFAClientDisabled}
	if text != "" {
		a.Secrets = []string{text}
	}
	if cert != nil {
		a.Certificates = []*x509.Certificate{cert}
	}
	return s.AddApp(a)
}

// Credentials returns the key ids of an application's secrets and certificates, to see what a set-up left behind.
func (s *Server) Credentials(clientID string) (secrets, certificates []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.appLocked(clientID)
	if a == nil {
		return nil, nil
	}
	for _, c := range a.secrets {
		secrets = append(secrets, c.keyID)
	}
	for _, c := range a.certs {
		certificates = append(certificates, c.keyID)
	}
	return secrets, certificates
}

func (s *Server) appLocked(clientID string) *app {
	for _, a := range s.apps {
		if strings.EqualFold(a.ClientID, clientID) {
			return a
		}
	}
	return nil
}

// thumbprints are the names that a JWT header may call the certificate by.
func (c *certificate) thumbprints() (x5t, x5tS256 []string) {
	one := sha1.Sum(c.der) //nolint:gosec // see the import
	two := sha256.Sum256(c.der)
	// MSAL has written padded base64 as well, for Go with the letters + and /, and Entra takes it.
	return []string{b64(one[:]), base64.URLEncoding.EncodeToString(one[:]), base64.StdEncoding.EncodeToString(one[:])},
		[]string{b64(two[:]), base64.URLEncoding.EncodeToString(two[:]), base64.StdEncoding.EncodeToString(two[:])}
}

func mapKeys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
