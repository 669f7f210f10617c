package callback_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"countersign/internal/callback"
	"countersign/providers"
)

// resolver says that every name is this machine.
func resolver(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	p, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &dns.Server{Listener: p, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-done
	})
	return p.Addr().String()
}

// Pebble is Let's Encrypt's own test server: it validates by TLS-ALPN-01 over the listener itself, as the real one does.
func TestACertificateComesFromAnACMEServer(t *testing.T) {
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	const name = "countersign.example.com"
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	validator := va.New(quiet, 1, l.Addr().(*net.TCPAddr).Port, true, resolver(t), store)
	front := wfe.New(quiet, store, validator, issuer, []string{"pebble"}, true, false, 1, 1)
	directory := httptest.NewTLSServer(front.Handler())
	t.Cleanup(directory.Close)
	roots := x509.NewCertPool()
	roots.AddCert(directory.Certificate())

	a := callback.ACME{
		Domains: []string{name}, Email: "ops@example.com", Directory: directory.URL + wfe.DirectoryPath, Storage: t.TempDir(), RootCAs: roots,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	c, begin, stop, err := a.Config(l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	s, err := callback.New(callback.Options{Pages: map[string]providers.Pager{"m365": pager{}}, TLS: c})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	if err := begin(ctx); err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.GetRootCert(0).Cert.Raw}))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		},
	}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+name+"/verify/m365/abc", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(b) != "page GET /verify/m365/abc" {
				t.Errorf("page = %s, %v", b, err)
			}
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("no certificate: %v", err)
		}
	}
}
