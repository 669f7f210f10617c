package microsoft365_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365"
)

const (
	adminID     = "33333333-aaaa-4bbb-8ccc-000000000003"
	adminSecret = "admin~secret.0123456789-ABCDEF" // of a simulated application
)

// directory is one whose administrator has an application of their own.
func directory(o entra.Options) entra.Options {
	o.Apps = append(o.Apps,
		entra.App{ClientID: adminID, Secrets: []string{adminSecret}, Roles: []string{"Application.ReadWrite.All", "Directory.Read.All"}})
	if len(o.Apps) == 1 {
		o.Apps = append(o.Apps, entra.App{ClientID: entra.DefaultClientID, Secrets: []string{entra.DefaultClientSecret}, Roles: entra.ReadRoles()})
	}
	return o
}

func newDirectory(t *testing.T, o entra.Options) *rig {
	t.Helper()
	sim, err := entra.New(directory(o))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, sim, sim.Handler())
}

func (r *rig) setupOptions() microsoft365.SetupOptions {
	return microsoft365.SetupOptions{
		TenantID: tenant, ClientID: entra.DefaultClientID, RootCAs: r.roots,
		Admin: microsoft365.AdminSecret, AdminClientID: adminID, AdminClientSecret: adminSecret,
	}
}

// setup runs Setup and returns what it wrote.
func (r *rig) setup(o microsoft365.SetupOptions) (string, error) {
	r.Helper()
	var out bytes.Buffer
	err := microsoft365.SetupDialing(r.Context(), o, &out, r.net.Dial)
	for _, secret := range []string{adminSecret, "eyJhbGci", "PRIVATE KEY"} {
		if strings.Contains(out.String(), secret) || err != nil && strings.Contains(err.Error(), secret) {
			r.Errorf("a secret is in %q, %v", out.String(), err)
		}
	}
	return out.String(), err
}

func (r *rig) writes() (n int) {
	for _, req := range r.sim.Requests(entra.Graph) {
		if req.Method != http.MethodGet {
			n++
		}
	}
	return n
}

func contains(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(out, line) {
			t.Errorf("the report has no %q:\n%s", line, out)
		}
	}
}

func TestASetUpWithoutApplyChangesNothingAndSaysWhatItWouldDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDirectory(t, entra.Options{NoMFAClient: true})
		out, err := r.setup(r.setupOptions())
		if err != nil || r.writes() != 0 {
			t.Errorf("Setup = %v with %d writes, want none of either", err, r.writes())
		}
		contains(t, out, "dry run", "ok    licence: the directory has AAD_PREMIUM", "ok    connector:", "plan  mfa client: create",
			"plan  certificate: make one, good for 365 days", "ok    application: has User.Read.All", "ok    application: has UserAuthenticationMethod.Read.All")
	})
}

// What Setup registers is what the Verifier then pushes with.
func TestACertificateOfSetUpPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDirectory(t, entra.Options{NoMFAClient: true, Propagation: 20 * time.Second})
		o := r.setupOptions()
		o.Apply = true
		var saved microsoft365.Secret
		o.Save = func(cert []byte, key microsoft365.Secret) error {
			if r.writes() > 1 {
				t.Error("the certificate was registered before it was saved")
			}
			saved = microsoft365.Secret(cert) + key
			return nil
		}
		out, err := r.setup(o)
		if err != nil {
			t.Fatalf("Setup = %v\n%s", err, out)
		}
		contains(t, out, "done  mfa client: created", "done  certificate: registered SHA-256", "ok    certificate: the sign-in service takes it")
		vo := r.options()
		vo.Connector = microsoft365.Connector{Certificate: saved}
		if err := r.sim.Script("kim@contoso.com", entra.Approves()); err != nil {
			t.Fatal(err)
		}
		v := r.open(vo)
		if err := v.Check(t.Context()); err != nil {
			t.Errorf("Check = %v", err)
		}
		if out := r.ask(v, "kim@contoso.com"); out.Verdict != providers.Approved {
			t.Errorf("outcome = %+v, want an approval", out)
		}
	})
}

func TestSetUpKeepsTheCertificatesThatAreThereAndIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDirectory(t, entra.Options{})
		old, _ := rsaCertificate(t, "AD FS", 10*24*time.Hour)
		if err := r.sim.AddMFACredential("kept~secret", old); err != nil {
			t.Fatal(err)
		}
		_, before := r.sim.Credentials(entra.MFAClientID)
		leaf, _ := rsaCertificate(t, "Countersign", 365*24*time.Hour)
		o := r.setupOptions()
		o.Apply, o.Certificate = true, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
		out, err := r.setup(o)
		if err != nil {
			t.Fatalf("Setup = %v\n%s", err, out)
		}
		contains(t, out, `note  certificate: "CN=AD FS"`, "done  certificate: registered", "1 that were there stay")
		secrets, after := r.sim.Credentials(entra.MFAClientID)
		if len(after) != 2 || after[0] != before[0] || len(secrets) != 1 {
			t.Errorf("certificates are %v with %d secrets, want %v and one more, and the secret", after, len(secrets), before)
		}
		writes := r.writes()
		out, err = r.setup(o)
		contains(t, out, "ok    certificate: registered already")
		if err != nil || r.writes() != writes {
			t.Errorf("a second Setup = %v and wrote %d times, want nothing", err, r.writes()-writes)
		}
	})
}

func TestSetUpChangesNothingWhereItCannotKeepWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDirectory(t, entra.Options{})
		old, _ := rsaCertificate(t, "AD FS", 100*24*time.Hour)
		if err := r.sim.AddMFACredential("", old); err != nil {
			t.Fatal(err)
		}
		r.sim.Inject(entra.Fault{Host: entra.Graph, Path: "", Who: "keycredentials", Kind: entra.Rewritten, Rewrite: func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"key":"`))
			if i < 0 {
				return b
			}
			j := bytes.IndexByte(b[i+7:], '"')
			return append(append(bytes.Clone(b[:i]), []byte(`"key":null`)...), b[i+7+j+1:]...)
		}})
		o := r.setupOptions()
		o.Apply, o.Save = true, func([]byte, microsoft365.Secret) error { return nil }
		out, err := r.setup(o)
		contains(t, out, "fail  certificate: the directory does not give out")
		if !errors.Is(err, microsoft365.ErrSetup) || r.writes() != 0 {
			t.Errorf("Setup = %v with %d writes, want ErrSetup and none", err, r.writes())
		}
	})
}

func TestACertificateThatCouldNotBeSavedIsNotRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDirectory(t, entra.Options{})
		o := r.setupOptions()
		o.Apply, o.Save = true, func([]byte, microsoft365.Secret) error { return errors.New("disk full") }
		out, err := r.setup(o)
		contains(t, out, "fail  certificate: save: disk full")
		if !errors.Is(err, microsoft365.ErrSetup) || r.writes() != 0 {
			t.Errorf("Setup = %v with %d writes, want ErrSetup and none", err, r.writes())
		}
	})
}

func TestSetUpSaysWhatIsMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		directory entra.Options
		line      string
	}{
		"no licence":             {entra.Options{NoPremium: true}, "fail  licence: no Entra ID P1"},
		"connector disabled":     {entra.Options{MFAConnectorDisabled: true}, "fail  connector: Azure Multi-Factor Auth Connector is disabled"},
		"mfa client disabled":    {entra.Options{MFAClientDisabled: true}, "fail  mfa client: Azure Multi-Factor Auth Client is disabled"},
		"application unknown":    {entra.Options{Apps: []entra.App{{ClientID: adminID}}}, "fail  application: " + entra.DefaultClientID + " is not in the directory"},
		"permissions missing":    {entra.Options{Apps: []entra.App{{ClientID: entra.DefaultClientID, Roles: []string{"User.Read.All"}}}}, "fail  application: lacks the application permission UserAuthenticationMethod.Read.All"},
		"logs cannot be read":    {entra.Options{Apps: []entra.App{{ClientID: entra.DefaultClientID, Roles: []string{"User.Read.All"}}}}, "note  application: without AuditLog.Read.All"},
		"more than is necessary": {entra.Options{Apps: []entra.App{{ClientID: entra.DefaultClientID, Roles: []string{"User.Read.All", "Application.ReadWrite.All"}}}}, "note  application: has more than Countersign uses: Application.ReadWrite.All"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDirectory(t, tt.directory)
				out, err := r.setup(r.setupOptions())
				contains(t, out, tt.line)
				if !errors.Is(err, microsoft365.ErrSetup) {
					t.Errorf("Setup = %v, want ErrSetup", err)
				}
			})
		})
	}
}

func TestSetUpTellsAnAdministratorWhoIsNotSignedInToSignIn(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no Azure CLI
	var out bytes.Buffer
	err := microsoft365.Setup(t.Context(), microsoft365.SetupOptions{TenantID: tenant}, &out)
	contains(t, out.String(), "fail  licence: microsoft365: licences: token, no_token", "(az login)")
	if !errors.Is(err, microsoft365.ErrSetup) {
		t.Errorf("Setup = %v, want ErrSetup", err)
	}
}

func TestSetUpRefusesWhatItCannotWorkWith(t *testing.T) {
	weak, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &weak.PublicKey, weak)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*microsoft365.SetupOptions){
		"tenant is a name": func(o *microsoft365.SetupOptions) { o.TenantID = "contoso.com" },
		"client id":        func(o *microsoft365.SetupOptions) { o.ClientID = "x' or 1 eq 1" },
		"admin":            func(o *microsoft365.SetupOptions) { o.Admin = "device-code" },
		"cloud":            func(o *microsoft365.SetupOptions) { o.Cloud = "moon" },
		"nowhere to save":  func(o *microsoft365.SetupOptions) { o.Apply = true },
		"no certificate":   func(o *microsoft365.SetupOptions) { o.Certificate = []byte("no PEM") },
		"no RSA key": func(o *microsoft365.SetupOptions) {
			o.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		},
		"wrong secret": func(o *microsoft365.SetupOptions) { o.AdminClientSecret = "wrong" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDirectory(t, entra.Options{})
				o := r.setupOptions()
				change(&o)
				if out, err := r.setup(o); err == nil || r.writes() != 0 {
					t.Errorf("Setup = nil with %d writes, want an error and none\n%s", r.writes(), out)
				}
			})
		})
	}
}

// rsaCertificate makes a certificate and its PEM with the key.
func rsaCertificate(t *testing.T, name string, life time.Duration) (*x509.Certificate, microsoft365.Secret) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return leaf, microsoft365.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})) +
		microsoft365.Secret(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
