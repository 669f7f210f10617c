package microsoft365

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Admin is how Setup signs in: with an administrator's rights, which Countersign itself never has.
type Admin string

// The ways to sign in. There is no device code: Microsoft advises to block it, because it is phished so easily.
const (
	AdminAzureCLI    Admin = "azure-cli"     // whoever "az login" signed in; what "" means
	AdminEnvironment Admin = "environment"   // AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH
	AdminSecret      Admin = "client-secret" // AdminClientID and AdminClientSecret
)

// SetupOptions configure Setup.
type SetupOptions struct {
	TenantID string
	ClientID string // the application of Options, whose permissions are looked at; "" leaves that out

	Admin             Admin
	AdminClientID     string
	AdminClientSecret Secret

	// Certificate is what to register, in PEM. A private key in it is not read. "" makes a new one.
	Certificate []byte
	// Save gets a certificate that was made, with its key, in PEM, before it is registered. An error ends the set-up.
	Save     func(certificate []byte, key Secret) error
	Lifetime time.Duration // of a certificate that is made; 0: a year

	// Apply makes the changes. Otherwise nothing is changed, and what would be is written out.
	Apply bool

	Cloud   Cloud
	URLs    URLs
	RootCAs *x509.CertPool
	Now     func() time.Time

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests only
}

// ErrSetup says that something is missing that Setup cannot bring about. What it is was written out.
var ErrSetup = errors.New("microsoft365: the set-up is not complete")

// Setup makes a directory ready for pushes, and writes out what it found and did, a line each. It makes sure that the MFA
// client has a service principal, and registers a certificate with it that the Connector then knows Countersign by. It
// removes nothing: Graph replaces the whole list of certificates, so the ones that are there are sent along.
func Setup(ctx context.Context, o SetupOptions, w io.Writer) error {
	s, err := newSetup(o, w)
	if err != nil {
		return err
	}
	if o.Apply {
		s.say("", "directory %s: changes are made", s.o.TenantID)
	} else {
		s.say("", "directory %s: dry run, nothing is changed", s.o.TenantID)
	}
	for _, step := range []func(context.Context) error{s.licence, s.service, s.mfaClient, s.certificate, s.permissions} {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.fail("%v", err)
		}
		if s.w.err != nil {
			return fmt.Errorf("microsoft365: report: %w", s.w.err)
		}
	}
	if s.failed > 0 {
		return fmt.Errorf("%w: %d problems", ErrSetup, s.failed)
	}
	return nil
}

type setup struct {
	o      SetupOptions
	w      *reportWriter
	at     endpoints
	graph  *graphClient
	client *http.Client
	failed int

	sp *principal // the MFA client's; nil while there is none
}

// reportWriter remembers that a line could not be written.
type reportWriter struct {
	w   io.Writer
	err error
}

// say writes one line: what is so (ok), would be done (plan), was done (done), is worth knowing (note) or is wrong (fail).
func (s *setup) say(mark, format string, a ...any) {
	if s.w.err == nil {
		_, s.w.err = fmt.Fprintf(s.w.w, "%-5s %s\n", mark, fmt.Sprintf(format, a...))
	}
}

func (s *setup) fail(format string, a ...any) {
	s.failed++
	s.say("fail", format, a...)
}

func newSetup(o SetupOptions, w io.Writer) (*setup, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lifetime == 0 {
		o.Lifetime = 365 * 24 * time.Hour
	}
	var bad []error
	if !guidShape.MatchString(o.TenantID) {
		bad = append(bad, errors.New("microsoft365: the tenant must be the directory's id"))
	}
	if o.ClientID != "" && !guidShape.MatchString(o.ClientID) {
		bad = append(bad, errors.New("microsoft365: the client id must be an application's id"))
	}
	if o.Certificate == nil && o.Save == nil && o.Apply {
		bad = append(bad, errors.New("microsoft365: say where to write the new certificate and its key, or give a certificate"))
	}
	at, err := Options{Cloud: o.Cloud, URLs: o.URLs}.endpoints()
	if err != nil {
		bad = append(bad, err)
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	s := &setup{o: o, w: &reportWriter{w: w}, at: at, client: newClient(newTransport(Options{RootCAs: o.RootCAs, dial: o.dial}))}
	cred, err := s.admin()
	if err != nil {
		return nil, err
	}
	s.graph, err = openGraph(at, s.client, cred)
	return s, err
}

func (s *setup) admin() (azcore.TokenCredential, error) {
	var cred azcore.TokenCredential
	var err error
	opts := clientOptions(s.at, s.client)
	switch s.o.Admin {
	case "", AdminAzureCLI:
		cred, err = azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: s.o.TenantID})
	case AdminEnvironment:
		cred, err = azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
	case AdminSecret:
		cred, err = azidentity.NewClientSecretCredential(s.o.TenantID, s.o.AdminClientID, string(s.o.AdminClientSecret),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
	default:
		return nil, fmt.Errorf("microsoft365: admin is %q: want azure-cli, environment or client-secret", string(s.o.Admin))
	}
	if err != nil {
		return nil, fmt.Errorf("microsoft365: the administrator's %s credential is not usable", cmp.Or(string(s.o.Admin), string(AdminAzureCLI))) // the cause may quote it
	}
	return cred, nil
}

// licence looks for Entra ID P1, which P2 contains.
func (s *setup) licence(ctx context.Context) error {
	plans, err := s.graph.plans(ctx)
	if err != nil {
		return fmt.Errorf("licence: %w", err)
	}
	for _, want := range []string{"AAD_PREMIUM", "AAD_PREMIUM_P2"} {
		if slices.Contains(plans, want) {
			s.say("ok", "licence: the directory has %s", want)
			return nil
		}
	}
	s.fail("licence: no Entra ID P1 or P2 (AAD_PREMIUM): the Connector does not push without")
	return nil
}

// connectorApp is the Connector's application id.
const connectorApp = "1f5530b3-261a-47a9-b357-ded261e17918"

func (s *setup) service(ctx context.Context) error {
	sp, err := s.graph.principal(ctx, connectorApp)
	switch {
	case err != nil:
		return fmt.Errorf("connector: %w", err)
	case sp == nil:
		s.fail("connector: Azure Multi-Factor Auth Connector (%s) is not in the directory: it comes with the licence", connectorApp)
	case !sp.enabled:
		s.fail("connector: Azure Multi-Factor Auth Connector is disabled: enable it for sign-in under Enterprise applications")
	default:
		s.say("ok", "connector: Azure Multi-Factor Auth Connector is enabled")
	}
	return nil
}

func (s *setup) mfaClient(ctx context.Context) (err error) {
	s.sp, err = s.graph.principal(ctx, mfaClient)
	switch {
	case err != nil:
		return fmt.Errorf("mfa client: %w", err)
	case s.sp == nil && !s.o.Apply:
		s.say("plan", "mfa client: create the service principal of Azure Multi-Factor Auth Client (%s)", mfaClient)
		return nil
	case s.sp == nil:
		if s.sp, err = s.graph.createPrincipal(ctx, mfaClient); err != nil {
			return fmt.Errorf("mfa client: create its service principal: %w", err)
		}
		s.say("done", "mfa client: created the service principal of Azure Multi-Factor Auth Client")
	}
	if !s.sp.enabled {
		s.fail("mfa client: Azure Multi-Factor Auth Client is disabled: enable it for sign-in under Enterprise applications")
		return nil
	}
	s.say("ok", "mfa client: Azure Multi-Factor Auth Client is enabled")
	return nil
}

// What our application needs, each as any of these, and what it is for.
var (
	neededRoles = []struct {
		any []string
		why string
	}{
		{[]string{"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}, "to find the requester"},
		{[]string{"UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All"}, "to see which methods they have registered"},
	}
	logRoles = []string{"AuditLog.Read.All", "Directory.Read.All"}
)

// permissions looks at what our own application may do.
func (s *setup) permissions(ctx context.Context) error {
	if s.o.ClientID == "" {
		return nil
	}
	sp, err := s.graph.principal(ctx, s.o.ClientID)
	if err != nil {
		return fmt.Errorf("application: %w", err)
	}
	if sp == nil {
		s.fail("application: %s is not in the directory: register it, and grant admin consent", s.o.ClientID)
		return nil
	}
	roles, err := s.graph.graphRoles(ctx, sp.id)
	if err != nil {
		return fmt.Errorf("application: permissions: %w", err)
	}
	used := []string{}
	for _, need := range neededRoles {
		i := slices.IndexFunc(need.any, func(r string) bool { return slices.Contains(roles, r) })
		if i < 0 {
			s.fail("application: lacks the application permission %s, %s: add it and grant admin consent", need.any[0], need.why)
			continue
		}
		used = append(used, need.any[i])
		s.say("ok", "application: has %s, %s", need.any[i], need.why)
	}
	for _, r := range logRoles {
		if !slices.Contains(roles, r) {
			s.say("note", "application: without %s, approvals are not compared with the sign-in logs", r)
		}
	}
	more := slices.DeleteFunc(slices.Clone(roles), func(r string) bool { return slices.Contains(used, r) || slices.Contains(logRoles, r) })
	if len(more) > 0 {
		s.say("note", "application: has more than Countersign uses: %s", strings.Join(more, ", "))
	}
	return nil
}
