package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// The whole sidecar (interception, canonical form, catalog, Rego, journal on disk) against a bare httputil.ReverseProxy, in one
// run: the same small read over 32 kept-alive connections, TLS towards the upstream in both. Compare within one run.

const (
	benchConnections = 32
	benchAnswer      = `{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#users","value":[{"id":"1","displayName":"Bob"}]}`
)

// benchAPI is an upstream under Graph's name that costs next to nothing, and its certificate.
func benchAPI(b *testing.B) (*httptest.Server, []byte) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"graph.microsoft.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, benchAnswer)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	b.Cleanup(s.Close)
	return s, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func BenchmarkBareReverseProxy(b *testing.B) {
	api, cert := benchAPI(b)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: api.Listener.Addr().String()})
		},
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: "graph.microsoft.com", MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: benchConnections,
		},
	}
	front := httptest.NewServer(p)
	b.Cleanup(front.Close)
	load(b, &http.Transport{MaxIdleConnsPerHost: benchConnections}, front.URL+"/v1.0/users")
}

// BenchmarkSidecarReverse is the reverse listener, and so differs from the baseline by what the sidecar does alone.
func BenchmarkSidecarReverse(b *testing.B) {
	r := benchRig(b)
	load(b, &http.Transport{MaxIdleConnsPerHost: benchConnections}, "http://"+r.sidecar.Addr("reverse")+"/graph.microsoft.com/v1.0/users")
}

// BenchmarkSidecarProxy adds the TLS that an intercepting proxy ends.
func BenchmarkSidecarProxy(b *testing.B) {
	r := benchRig(b)
	load(b, &http.Transport{
		Proxy:               http.ProxyURL(&url.URL{Scheme: "http", Host: r.sidecar.Addr("proxy")}),
		TLSClientConfig:     &tls.Config{RootCAs: r.roots(), MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: benchConnections,
	}, "https://graph.microsoft.com/v1.0/users")
}

// benchRig is a sidecar whose Graph is benchAPI; the simulated one keeps every request it gets.
func benchRig(b *testing.B) *rig {
	b.Helper()
	api, cert := benchAPI(b)
	return start(b, options{graph: api.Listener.Addr().String(), graphCA: cert, level: slog.LevelWarn})
}

// load sends b.N reads over benchConnections connections.
func load(b *testing.B, tr *http.Transport, target string) {
	b.Helper()
	b.Cleanup(tr.CloseIdleConnections)
	tr.DialContext = (&net.Dialer{}).DialContext
	c := &http.Client{Transport: tr}
	work := make(chan struct{})
	var wg sync.WaitGroup
	b.ResetTimer()
	for range benchConnections {
		wg.Go(func() {
			for range work {
				resp, err := c.Get(target)
				if err != nil {
					b.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "{") {
					b.Errorf("answer = %d %s, %v", resp.StatusCode, body, err)
					return
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
}
