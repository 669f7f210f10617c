package intercept_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/proxy/intercept"
)

func newCA(t testing.TB) *intercept.CA {
	t.Helper()
	ca, err := intercept.LoadOrCreateCA(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func newInterceptor(t testing.TB, ca *intercept.CA, o intercept.Options) *intercept.Interceptor {
	t.Helper()
	if o.Admit == nil {
		o.Admit = func(string) bool { return true }
	}
	i, err := intercept.New(ca, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

func trust(ca *intercept.CA, sni string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	return &tls.Config{RootCAs: pool, ServerName: sni, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// shake does one handshake over a pipe and returns both ends of the outcome.
func shake(t testing.TB, i *intercept.Interceptor, connectHost string, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	t.Helper()
	here, there := net.Pipe()
	var wg sync.WaitGroup
	var served *tls.Conn
	wg.Go(func() {
		served, serverErr = i.Handshake(t.Context(), there, connectHost)
		if serverErr == nil {
			_, serverErr = served.Write([]byte("x")) // TLS 1.3 tickets and a byte: the client reads both
		}
	})
	c := tls.Client(here, client)
	if clientErr = c.HandshakeContext(t.Context()); clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	state = c.ConnectionState()
	if clientErr != nil {
		_ = here.Close()
	}
	wg.Wait()
	_ = here.Close()
	_ = there.Close()
	return state, clientErr, serverErr
}

func TestAnAdmittedHostGetsACertificate(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	for _, tt := range []struct{ connect, sni string }{
		{"graph.microsoft.com", "graph.microsoft.com"},
		{"GRAPH.Microsoft.com.", "graph.microsoft.COM"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"a." + strings.Repeat("b", 60) + ".example.com", "a." + strings.Repeat("b", 60) + ".example.com"},
		{"127.0.0.1", ""},
		{"::1", ""},
		{"[2001:db8::1]", ""},
	} {
		client := trust(ca, tt.sni)
		if tt.sni == "" {
			client.ServerName = strings.Trim(tt.connect, "[]") // an IP literal: crypto/tls sends no SNI
		}
		state, clientErr, serverErr := shake(t, i, tt.connect, client)
		if clientErr != nil || serverErr != nil {
			t.Errorf("%s: client %v, server %v", tt.connect, clientErr, serverErr)
			continue
		}
		if state.NegotiatedProtocol != "h2" || len(state.PeerCertificates) != 1 {
			t.Errorf("%s: protocol %q, %d certificates", tt.connect, state.NegotiatedProtocol, len(state.PeerCertificates))
		}
		leaf := state.PeerCertificates[0]
		if leaf.IsCA || len(leaf.AuthorityKeyId) == 0 || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 1 {
			t.Errorf("%s: leaf %+v", tt.connect, leaf.KeyUsage)
		}
		if left := time.Until(leaf.NotAfter); left < 50*time.Minute || left > 398*24*time.Hour {
			t.Errorf("%s: the leaf lives %v", tt.connect, left)
		}
	}
}

func TestAClientWithoutSNIGetsTheConnectHostsCertificate(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	client := trust(ca, "")
	client.InsecureSkipVerify = true // crypto/tls sends no SNI in this way only; the name is checked below
	state, clientErr, serverErr := shake(t, i, "graph.microsoft.com", client)
	if clientErr != nil || serverErr != nil {
		t.Fatal(clientErr, serverErr)
	}
	if err := state.PeerCertificates[0].VerifyHostname("graph.microsoft.com"); err != nil {
		t.Error(err)
	}
}

func TestAnotherServerNameIsRefused(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	cache := tls.NewLRUClientSessionCache(4)
	resumable := trust(ca, "graph.microsoft.com")
	resumable.ClientSessionCache = cache
	if _, clientErr, serverErr := shake(t, i, "graph.microsoft.com", resumable); clientErr != nil || serverErr != nil {
		t.Fatal(clientErr, serverErr)
	}
	for connect, client := range map[string]*tls.Config{
		"login.microsoftonline.com": trust(ca, "graph.microsoft.com"),
		"127.0.0.1":                 trust(ca, "graph.microsoft.com"),
		"other.example":             resumable, // a ticket must not get round the check
	} {
		_, clientErr, serverErr := shake(t, i, connect, client)
		if !errors.Is(serverErr, intercept.ErrSNI) || clientErr == nil {
			t.Errorf("CONNECT %s: client %v, server %v, want ErrSNI", connect, clientErr, serverErr)
		}
	}
}

func TestSessionsAreResumed(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	client := trust(ca, "graph.microsoft.com")
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for n := range 2 {
		state, clientErr, serverErr := shake(t, i, "graph.microsoft.com", client)
		if clientErr != nil || serverErr != nil {
			t.Fatal(clientErr, serverErr)
		}
		if state.DidResume != (n == 1) {
			t.Errorf("handshake %d: resumed %t", n, state.DidResume)
		}
	}
}

func TestNoCertificateForAHostThatIsNotAdmitted(t *testing.T) {
	ca := newCA(t)
	var asked atomic.Value
	i := newInterceptor(t, ca, intercept.Options{Admit: func(name string) bool { asked.Store(name); return name == "graph.microsoft.com" }})
	for _, host := range []string{"evil.example", "graph.microsoft.com.evil.example", "", "a b", "*.microsoft.com", "x_y.example", "fe80::1%eth0"} {
		_, clientErr, serverErr := shake(t, i, host, trust(ca, "graph.microsoft.com"))
		if !errors.Is(serverErr, intercept.ErrNotAdmitted) || clientErr == nil {
			t.Errorf("%q: client %v, server %v, want ErrNotAdmitted", host, clientErr, serverErr)
		}
	}
	if _, clientErr, serverErr := shake(t, i, "GRAPH.microsoft.com", trust(ca, "graph.microsoft.com")); clientErr != nil || serverErr != nil {
		t.Error(clientErr, serverErr)
	}
	if asked.Load() != "graph.microsoft.com" {
		t.Errorf("Admit was asked for %q", asked.Load())
	}
}

func TestOneCertificateServesManyHandshakes(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	var mu sync.Mutex
	serials := map[string]bool{}
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			state, clientErr, serverErr := shake(t, i, "graph.microsoft.com", trust(ca, "graph.microsoft.com"))
			if clientErr != nil || serverErr != nil {
				t.Error(clientErr, serverErr)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			serials[state.PeerCertificates[0].SerialNumber.String()] = true
		})
	}
	wg.Wait()
	if len(serials) != 1 {
		t.Errorf("30 handshakes saw %d certificates, want 1", len(serials))
	}
}

// Two sidecars in one process (a test, the demo) share certmagic's waiting lists: neither may serve the other's certificate.
func TestTwoInterceptorsInOneProcessKeepApart(t *testing.T) {
	for round := range 20 {
		host := string(rune('a'+round)) + ".example.com"
		var wg sync.WaitGroup
		for range 2 {
			ca := newCA(t)
			i := newInterceptor(t, ca, intercept.Options{})
			for range 4 {
				wg.Go(func() {
					if _, clientErr, serverErr := shake(t, i, host, trust(ca, host)); clientErr != nil || serverErr != nil {
						t.Errorf("%s: client %v, server %v", host, clientErr, serverErr)
					}
				})
			}
		}
		refusing := newInterceptor(t, newCA(t), intercept.Options{Admit: func(string) bool { return false }})
		if _, _, err := shake(t, refusing, host, trust(newCA(t), host)); err == nil {
			t.Error("a refused host was served")
		}
		wg.Wait()
	}
}

func TestAnOldProtocolIsRefused(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	client := trust(ca, "graph.microsoft.com")
	client.MinVersion, client.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, clientErr, serverErr := shake(t, i, "graph.microsoft.com", client); clientErr == nil || serverErr == nil {
		t.Error("TLS 1.1 was accepted")
	}
	client.MaxVersion = tls.VersionTLS12
	if state, clientErr, serverErr := shake(t, i, "graph.microsoft.com", client); clientErr != nil || serverErr != nil || state.Version != tls.VersionTLS12 {
		t.Errorf("TLS 1.2: %v, %v", clientErr, serverErr)
	}
}

func TestAChallengeProtocolGetsNoSpecialTreatment(t *testing.T) {
	ca := newCA(t)
	i := newInterceptor(t, ca, intercept.Options{})
	client := trust(ca, "graph.microsoft.com")
	client.NextProtos = []string{"acme-tls/1"}
	_, clientErr, _ := shake(t, i, "graph.microsoft.com", client)
	if clientErr == nil || strings.Contains(clientErr.Error(), "internal error") {
		t.Errorf("acme-tls/1: %v, want a refusal for want of a common protocol", clientErr)
	}
}

func TestAnIntermediateIsSentWithWhatLeadsToItsRoot(t *testing.T) {
	_, _, root, rootKey := authority(t, func(c *x509.Certificate) { c.Subject.CommonName = "Corporate root" }, nil, nil)
	certPEM, keyPEM, _, _ := authority(t, func(c *x509.Certificate) { c.Subject.CommonName = "Interception" }, root, rootKey)
	ca, err := intercept.LoadCA(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	i := newInterceptor(t, ca, intercept.Options{})
	client := trust(ca, "graph.microsoft.com")
	client.RootCAs = x509.NewCertPool()
	client.RootCAs.AddCert(root)
	if _, clientErr, serverErr := shake(t, i, "graph.microsoft.com", client); clientErr != nil || serverErr != nil {
		t.Error(clientErr, serverErr)
	}
}

func TestAStuckHandshakeEndsWithItsContextAndClosesTheConnection(t *testing.T) {
	i := newInterceptor(t, newCA(t), intercept.Options{})
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.Handshake(ctx, there, "graph.microsoft.com"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := here.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestItsLogIsQuietUnlessAsked(t *testing.T) {
	ca := newCA(t)
	for level, want := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
		var mu sync.Mutex
		var out bytes.Buffer
		logger := slog.New(slog.NewTextHandler(locked{&mu, &out}, &slog.HandlerOptions{Level: level}))
		i := newInterceptor(t, ca, intercept.Options{Logger: logger})
		if _, clientErr, serverErr := shake(t, i, "graph.microsoft.com", trust(ca, "graph.microsoft.com")); clientErr != nil || serverErr != nil {
			t.Fatal(clientErr, serverErr)
		}
		i.Close()
		mu.Lock()
		got := out.String()
		mu.Unlock()
		if (got != "") != want {
			t.Errorf("at %v it wrote %q", level, got)
		}
		if strings.Contains(got, "PRIVATE KEY") {
			t.Error("a key was logged")
		}
	}
}

type locked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestWhatIsMissingIsRefused(t *testing.T) {
	admit := func(string) bool { return true }
	if _, err := intercept.New(nil, intercept.Options{Admit: admit}); err == nil {
		t.Error("no CA was accepted")
	}
	if _, err := intercept.New(newCA(t), intercept.Options{}); err == nil {
		t.Error("no Admit was accepted")
	}
	i := newInterceptor(t, newCA(t), intercept.Options{})
	i.Close()
	i.Close()
}
