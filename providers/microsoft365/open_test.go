package microsoft365_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365"

	"github.com/golang-jwt/jwt/v5"
)

func TestEachCredentialOpensGraphAndTheConnector(t *testing.T) {
	graphCert, graphPEM := rsaCertificate(t, "Countersign", 200*365*24*time.Hour)
	connectorCert, connectorPEM := rsaCertificate(t, "Connector", 200*365*24*time.Hour)
	platform, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tokenFile := filepath.Join(t.TempDir(), "token")
	for name, change := range map[string]func(*microsoft365.Options){
		"secrets":           func(*microsoft365.Options) {},
		"certificate":       func(o *microsoft365.Options) { o.ClientSecret, o.Certificate = "", graphPEM },
		"workload identity": func(o *microsoft365.Options) { o.ClientSecret, o.WorkloadIdentity.TokenFile = "", tokenFile },
		"connector certificate": func(o *microsoft365.Options) {
			o.Connector = microsoft365.Connector{Certificate: connectorPEM}
		},
		"government": func(o *microsoft365.Options) { o.Cloud = microsoft365.USGov },
		"china":      func(o *microsoft365.Options) { o.Cloud = microsoft365.China },
		"a gateway": func(o *microsoft365.Options) {
			const gateway = "https://gateway.example.com"
			o.URLs = microsoft365.URLs{Login: gateway, Graph: gateway + "/", Connector: gateway}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
					"iss": "https://cluster.example.com", "sub": "system:serviceaccount:agents:countersign", "aud": "api://AzureADTokenExchange",
					"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": "1",
				}).SignedString(platform)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(tokenFile, []byte(signed), 0o600); err != nil {
					t.Fatal(err)
				}
				app := entra.App{ClientID: entra.DefaultClientID, Secrets: []string{entra.DefaultClientSecret}, Roles: entra.ReadRoles()}
				app.Certificates = append(app.Certificates, graphCert)
				app.Federated = []entra.Federated{{Issuer: "https://cluster.example.com", Subject: "system:serviceaccount:agents:countersign", Keys: []crypto.PublicKey{&platform.PublicKey}}}
				// A bubble begins in the year 2000; nobody looks at when these certificates begin.
				r := newRig(t, entra.Options{Apps: []entra.App{app}})
				if err := r.sim.AddMFACredential(connectorSecret, connectorCert); err != nil {
					t.Fatal(err)
				}
				r.script(kim, entra.Approves())
				o := r.options()
				change(&o)
				v := r.open(o)
				if err := v.Check(t.Context()); err != nil {
					t.Errorf("Check = %v", err)
				}
				if out := r.ask(v, kim); out.Verdict != providers.Approved {
					t.Errorf("outcome = %+v, want an approval", out)
				}
				if n := len(r.sim.Received(entra.Login, "/oauth2/token")); n != 1 {
					t.Errorf("%d tokens for the Connector, want one that is kept", n)
				}
			})
		})
	}
}

func TestCheckSaysWhatIsWrongAndAsksNobody(t *testing.T) {
	for _, tt := range []struct {
		name      string
		directory entra.Options
		change    func(*microsoft365.Options)
		says      string
	}{
		{"wrong client secret", entra.Options{}, func(o *microsoft365.Options) { o.ClientSecret = "wrong~secret" }, "AADSTS7000215"},
		{"wrong connector secret", entra.Options{}, func(o *microsoft365.Options) { o.Connector.Secret = "wrong~secret" }, "AADSTS7000215"},
		{"unknown application", entra.Options{}, func(o *microsoft365.Options) { o.ClientID = "99999999-aaaa-4bbb-8ccc-000000000009" }, "AADSTS700016"},
		{"connector disabled", entra.Options{MFAConnectorDisabled: true}, nil, "AADSTS500014"},
		{"mfa client disabled", entra.Options{MFAClientDisabled: true}, nil, "AADSTS7000112"},
		{"no permission", entra.Options{Apps: []entra.App{{ClientID: entra.DefaultClientID, Secrets: []string{entra.DefaultClientSecret}, Roles: []string{"User.Read.All"}}}}, nil, "Authorization_RequestDenied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, tt.directory)
				o := r.options()
				if tt.change != nil {
					tt.change(&o)
				}
				if err := r.open(o).Check(t.Context()); err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "wrong~secret") {
					t.Errorf("Check = %v, want %s", err, tt.says)
				}
				r.pushed(kim, 0)
			})
		})
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	r := &rig{T: t}
	_, good := rsaCertificate(t, "Connector", time.Hour)
	_, other := rsaCertificate(t, "Other", time.Hour)
	mixed := microsoft365.Secret(string(good)[:strings.Index(string(good), "-----BEGIN CERTIFICATE")] + string(other)[strings.Index(string(other), "-----BEGIN CERTIFICATE"):])
	for name, change := range map[string]func(*microsoft365.Options){
		"a tenant's name":            func(o *microsoft365.Options) { o.TenantID = "contoso.com" },
		"no application":             func(o *microsoft365.Options) { o.ClientID = "" },
		"no credential":              func(o *microsoft365.Options) { o.ClientSecret = "" },
		"two credentials":            func(o *microsoft365.Options) { o.Certificate = good },
		"no connector":               func(o *microsoft365.Options) { o.Connector = microsoft365.Connector{} },
		"both for the connector":     func(o *microsoft365.Options) { o.Connector.Certificate = good },
		"no PEM":                     func(o *microsoft365.Options) { o.Connector = microsoft365.Connector{Certificate: "supersecret"} },
		"a key of another":           func(o *microsoft365.Options) { o.Connector = microsoft365.Connector{Certificate: mixed} },
		"an unknown mode":            func(o *microsoft365.Options) { o.Mode = "sms" },
		"a mode without its sign-in": func(o *microsoft365.Options) { o.Mode = microsoft365.PushThenSignIn },
		"an unknown cloud":           func(o *microsoft365.Options) { o.Cloud = "germany" },
		"plain http":                 func(o *microsoft365.Options) { o.URLs.Connector = "http://gateway.example.com" },
		"a password in a URL":        func(o *microsoft365.Options) { o.URLs.Login = "https://a:supersecret@gateway.example.com" },
	} {
		o := r.options()
		change(&o)
		v, err := microsoft365.Open(o)
		if err == nil || v != nil {
			t.Errorf("%s: Open succeeded", name)
		} else if strings.Contains(err.Error(), "supersecret") {
			t.Errorf("%s: a secret is in %q", name, err)
		}
	}
}
