package microsoft365_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365"
	"countersign/providers/providertest"
)

const (
	connectorSecret = "connector~secret.0123456789-ABCDEF" // of a simulated application
	tenant          = entra.DefaultTenant
)

func TestMicrosoft365KeepsTheContractOfVerifiers(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		Start:   startRig,
		Secrets: []string{connectorSecret, entra.DefaultClientSecret, "Bearer ", "eyJhbGci", "eyJ0eXAi", "eyJraWQi"},
	})
}

func startRig(t *testing.T) providertest.Rig {
	r := newRig(t, entra.Options{People: []entra.Person{
		{UPN: providertest.Alice, ID: "44444444-aaaa-4bbb-8ccc-0000000000a1"},
		{UPN: providertest.Bob, ID: "44444444-aaaa-4bbb-8ccc-0000000000b1"},
	}})
	return providertest.Rig{Service: service{t, r.sim}, Open: func() providers.Verifier { return r.open(r.options()) }}
}

// rig is a simulated directory on a network of its own.
type rig struct {
	*testing.T
	sim   *entra.Server
	roots *x509.CertPool
	net   *providertest.Listener
}

func newRig(t *testing.T, o entra.Options) *rig {
	t.Helper()
	sim, err := entra.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.AddMFACredential(connectorSecret, nil); err != nil {
		t.Fatal(err)
	}
	return serve(t, sim, sim.Handler())
}

// serve runs a handler for every host name, in memory, until the test ends.
func serve(t *testing.T, sim *entra.Server, h http.Handler) *rig {
	t.Helper()
	cert, roots := certificate()
	r := &rig{T: t, sim: sim, roots: roots, net: providertest.Listen()}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = srv.Serve(tls.NewListener(r.net, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})) // ends with Close
	})
	t.Cleanup(func() {
		_ = srv.Close() // nothing is left to be answered
		wg.Wait()
	})
	return r
}

func (r *rig) options() microsoft365.Options {
	return microsoft365.Options{
		TenantID: tenant, ClientID: entra.DefaultClientID, ClientSecret: entra.DefaultClientSecret,
		Connector: microsoft365.Connector{Secret: connectorSecret}, RootCAs: r.roots,
	}
}

func (r *rig) open(o microsoft365.Options) *microsoft365.Verifier {
	r.Helper()
	v, err := microsoft365.OpenDialing(o, r.net.Dial)
	if err != nil {
		r.Fatal(err)
	}
	return v
}

// certificate makes one for all host names of Microsoft's, good at the beginning of a bubble's time and now. It is made
// once: inside a bubble its randomness is as good as outside.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "simulated Microsoft"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames: []string{
			"login.microsoftonline.com", "graph.microsoft.com", "adnotifications.windowsazure.com", "strongauthenticationservice.auth.microsoft.com",
			"login.microsoftonline.us", "graph.microsoft.us", "adnotifications.windowsazure.us", "strongauthenticationservice.auth.microsoft.us",
			"login.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn", "adnotifications.windowsazure.cn", "strongauthenticationservice.auth.microsoft.cn",
			"gateway.example.com",
		},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
})

// service scripts the people of a simulated directory.
type service struct {
	t   *testing.T
	sim *entra.Server
}

func (s service) Pushes(upn string) int { return len(s.sim.PushesTo(upn)) }

func (s service) Script(upn string, script providertest.Script) {
	s.t.Helper()
	const begin, end = "/BeginTwoWayAuthentication", "/EndTwoWayAuthentication"
	fault := func(path string, kind entra.Kind, skip, times int) {
		s.sim.Inject(entra.Fault{Host: entra.Connector, Path: path, Who: upn, Kind: kind, Skip: skip, Times: times})
	}
	var plan entra.Script
	switch script {
	case providertest.Approve:
		plan = entra.Approves()
	case providertest.Deny:
		plan = entra.Denies()
	case providertest.Ignore:
		plan = entra.Ignores()
	case providertest.Fraud:
		plan = entra.ReportsFraud()
	case providertest.NotEnrolled:
		s.change(upn, func(p *entra.Person) { p.Methods = []string{} })
		return
	case providertest.LockedOut:
		s.change(upn, func(p *entra.Person) { p.Disabled = true })
		return
	case providertest.Bypass:
		plan = entra.Script{BeginResult: "challenge"}
	case providertest.Outage:
		plan = entra.Approves()
		fault(end, entra.BadGateway, 0, 0)
	case providertest.Blip:
		plan = entra.Script{Value: "Success", After: 20 * time.Second}
		fault(end, entra.ServerError, 0, 1)
		fault(end, entra.Reset, 0, 1)
		fault(end, entra.Throttled, 0, 1)
		fault(end, entra.Truncated, 0, 1)
	case providertest.Slow:
		plan = entra.Script{Value: "Success", After: 55 * time.Second}
	case providertest.Garbage:
		plan = entra.Approves()
		fault(end, entra.HTMLPage, 0, 0)
	case providertest.Unknown:
		plan = entra.Script{Value: "PhoneAppApprovedByMagic", Result: "true", After: time.Second}
	case providertest.Late:
		plan = entra.Script{Value: "Success", After: 61 * time.Second}
	case providertest.Throttled:
		plan = entra.Approves()
		fault(begin, entra.Throttled, 0, 0)
	default:
		s.t.Fatalf("no plan for script %d", script)
	}
	if err := s.sim.Script(upn, plan); err != nil {
		s.t.Fatal(err)
	}
}

func (s service) change(upn string, change func(*entra.Person)) {
	s.t.Helper()
	id := map[bool]string{true: "44444444-aaaa-4bbb-8ccc-0000000000a1", false: "44444444-aaaa-4bbb-8ccc-0000000000b1"}[strings.EqualFold(upn, providertest.Alice)]
	p := entra.Person{UPN: upn, ID: id}
	change(&p)
	if err := s.sim.AddPerson(p); err != nil {
		s.t.Fatal(err)
	}
}
