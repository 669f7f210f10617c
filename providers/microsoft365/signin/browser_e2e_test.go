//go:build e2e

package signin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365/signin"
)

// pictures is where to write what docs/providers/microsoft365-sign-in.md shows:
// go test -tags e2e ./providers/microsoft365/signin -run RealBrowser -pictures ../../../docs/images
var pictures = flag.String("pictures", "", "write the pictures of the documentation to this folder")

const (
	pageHost  = "countersign.contoso.com"
	loginHost = "login.microsoftonline.com"
	kim       = "kim@contoso.com"
)

// certificate is good for both hosts.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{pageHost, loginHost}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// desk is the page, a simulated directory and a window that reaches both by their names.
func desk(t *testing.T) (*signin.Verifier, *chromium) {
	t.Helper()
	cert, pool := certificate(t)
	sim, err := entra.New(entra.Options{LoginURL: "https://" + loginHost, Apps: []entra.App{{
		ClientID: entra.DefaultClientID, DisplayName: "Countersign", Secrets: []string{entra.DefaultClientSecret},
		RedirectURIs: []string{"https://" + pageHost + "/sign-in/callback"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(s *httptest.Server) string {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	login := serve(httptest.NewUnstartedServer(sim.Login()))
	v, err := signin.OpenDialing(signin.Options{
		BaseURL: "https://" + pageHost, TenantID: sim.TenantID(), ClientID: entra.DefaultClientID, ClientSecret: entra.DefaultClientSecret,
		AuthContext: "c1", RootCAs: pool,
	}, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, login)
	})
	if err != nil {
		t.Fatal(err)
	}
	pages := serve(httptest.NewUnstartedServer(v.Pages()))
	return v, startChromium(t, "MAP "+pageHost+":443 "+pages+",MAP "+loginHost+":443 "+login)
}

func (c *chromium) ask(v *signin.Verifier) providers.Attempt {
	c.Helper()
	a, err := v.Start(c.Context(), providers.Challenge{
		HoldID: "3f6c0c4e2b0f4e0b9d7a1c2d3e4f5a6b", Person: providers.Person{ID: kim, ObjectID: entra.KimID},
		Title: "Reset the password of bob@contoso.com", Code: "7Q4M",
		Fields: []providers.Field{
			{Name: "Operation", Value: "Reset the password of bob@contoso.com"}, {Name: "Target", Value: "bob@contoso.com"},
			{Name: "Ticket", Value: "T-1042"}, {Name: "Agent", Value: "helpdesk-1"}, {Name: "Reference", Value: "3f6c0c4e"},
		},
	})
	if err != nil || !a.Asked {
		c.Fatalf("Start = %+v, %v; want somebody asked", a, err)
	}
	return a
}

// shoot looks at the page on a phone and on a desk, in the light and in the dark.
func (c *chromium) shoot(name string) {
	c.Helper()
	for _, s := range []struct {
		name          string
		width, height int
		scale         float64
		phone         bool
		scheme        string
	}{
		{"phone", 390, 600, 1.25, true, "light"}, {"phone-dark", 390, 600, 1.25, true, "dark"}, {"desktop", 900, 500, 1, false, "light"},
	} {
		c.screen(s.width, s.height, s.scale, s.phone, s.scheme)
		if w := c.width(); w > s.width {
			c.Errorf("%s on a %s is %d wide, of %d", name, s.name, w, s.width)
		}
		if *pictures == "" || s.scheme == "dark" && name != "question" {
			continue
		}
		if err := os.WriteFile(filepath.Join(*pictures, "sign-in-"+name+"-"+s.name+".png"), c.picture(), 0o644); err != nil {
			c.Fatal(err)
		}
	}
}

func TestARealBrowserWithoutScriptsGetsThrough(t *testing.T) {
	v, c := desk(t)
	a := c.ask(v)
	c.open(a.URL, "Did you ask for this?")
	c.shoot("question")

	// Lee has the link, and signs in as Lee.
	c.click("button[value=approve]", "Sign in")
	c.call("DOM.focus", map[string]any{"nodeId": c.node("input[name=user]")}, nil)
	c.call("DOM.setAttributeValue", map[string]any{"nodeId": c.node("input[name=user]"), "name": "value", "value": "lee@contoso.com"}, nil)
	c.click("button[value=approve]", "That was another account")
	c.shoot("other-account")

	c.click("a.button", "Did you ask for this?")
	c.click("button[value=approve]", "Sign in")
	c.click("button[value=deny]", "You did not sign in")
	c.click("a.button", "Did you ask for this?")
	c.click("button[value=approve]", "Sign in")
	c.click("button[value=approve]", "Approved")
	c.shoot("approved")
	if out, err := v.Wait(t.Context(), a.Transaction); err != nil || out.Verdict != providers.Approved {
		t.Errorf("outcome = %+v, %v; want approved", out, err)
	}

	for button, want := range map[string]struct {
		heading string
		verdict providers.Verdict
	}{"deny": {"Denied", providers.Denied}, "report": {"Reported", providers.Fraud}} {
		a := c.ask(v)
		c.open(a.URL, "Did you ask for this?")
		c.click("button[value="+button+"]", want.heading) // the session from before is enough for a no
		if out, err := v.Wait(t.Context(), a.Transaction); err != nil || out.Verdict != want.verdict {
			t.Errorf("%s: outcome = %+v, %v; want %v", button, out, err, want.verdict)
		}
	}
}

func (c *chromium) node(selector string) int {
	c.Helper()
	node, err := c.find(selector)
	if err != nil {
		c.Fatal(err)
	}
	return node
}
