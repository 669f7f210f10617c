package ledger_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"countersign/internal/hold"
	"countersign/internal/ledger"
)

func TestAServerWantsTLSACertificateAndAnNkey(t *testing.T) {
	ca := newAuthority(t)
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.nk")
	write(t, file, string(seed)+"\n")
	s := start(t, server.Options{
		Nkeys: []*server.NkeyUser{{Nkey: public}}, TLS: true, TLSVerify: true, TLSTimeout: 60,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{ca.issue(t, "server")}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		},
	})
	cert := ca.issue(t, "client")
	o := single("tls://" + s.Addr().String())
	o.RootCAs, o.Certificate, o.Credentials = ca.pool, &cert, file
	create(t, open(t, o), "hold.a", "x")

	for name, change := range map[string]func(*ledger.Options){
		"without credentials":         func(o *ledger.Options) { o.Credentials = "" },
		"without a certificate":       func(o *ledger.Options) { o.Certificate = nil },
		"with another authority's CA": func(o *ledger.Options) { o.RootCAs = newAuthority(t).pool },
		"with the system's roots":     func(o *ledger.Options) { o.RootCAs = nil },
	} {
		worse := o
		change(&worse)
		l, err := ledger.Open(t.Context(), worse)
		if err != nil {
			continue // refused at once
		}
		if e, err := l.Load(t.Context(), "hold.a"); !errors.Is(err, hold.ErrLedger) {
			t.Errorf("%s: Load = %q, %v, want ErrLedger", name, e.Value, err)
		}
		closeNow(t, l)
	}
}

func TestOptionsThatCannotWorkAreRefusedAndNotQuoted(t *testing.T) {
	secret := "hunter2-" + strings.Repeat("x", ledger.MinKey)
	file := filepath.Join(t.TempDir(), "creds")
	write(t, file, secret)
	for name, o := range map[string]ledger.Options{
		"no folder":              {},
		"no key":                 {URL: "nats://localhost:1"},
		"a short key":            {Dir: t.TempDir(), Key: "hunter2-"},
		"a short old key":        {Dir: t.TempDir(), OldKeys: []ledger.Secret{"hunter2-"}},
		"an odd scheme":          {URL: "http://localhost:1", Key: testKey},
		"a path":                 {URL: "nats://localhost:1/hunter2-", Key: testKey},
		"a password":             {URL: "nats://u:hunter2-@localhost:1", Key: testKey},
		"a password further on":  {URL: "nats://localhost:1,u:hunter2-@localhost:2", Key: testKey},
		"an odd bucket":          {Dir: t.TempDir(), Bucket: "a.b"},
		"two replicas":           {URL: "nats://localhost:1", Key: testKey, Replicas: 2},
		"replicas of one":        {Dir: t.TempDir(), Replicas: 3},
		"no credentials":         {URL: "nats://localhost:1", Key: testKey, Credentials: filepath.Join(t.TempDir(), "none")},
		"credentials of no kind": {URL: "nats://localhost:1", Key: testKey, Credentials: file},
	} {
		_, err := ledger.Open(t.Context(), o)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Open = %v, want an error without the secret", name, err)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v %s", ledger.Secret(secret), ledger.Options{Key: ledger.Secret(secret)}, ledger.Secret(secret), ledger.Secret(secret)); strings.Contains(text, "hunter2") {
		t.Errorf("a key prints: %s", text)
	}
}

type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = template
	a.cert = a.sign(t, template, a.key)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	c := a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

func (a *authority) sign(t *testing.T, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
