package app_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"
	"countersign/internal/sim/traceless"
)

const callbackConfig = `
listen: {proxy: "", reverse: "127.0.0.1:0", control: "", callback: "127.0.0.1:0"}
ledger: {dir: state/ledger}
journal: {path: journal.jsonl}
callback: {cert: tls.crt, key: tls.key}
providers:
  traceless: {type: traceless, endpoint: "%s", organization: "%s", signing_secret: "${file:secret}", push_method: Duo Push, root_cas: ca.pem}
`

// listening is a sidecar with a public listener, in front of a simulated Traceless.
func listening(t *testing.T) (sim *traceless.Server, base string, client *http.Client) {
	t.Helper()
	sim, err := traceless.Start(traceless.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() }) // it has nothing to lose
	dir := t.TempDir()
	cert, key := serverCertificate(t)
	for name, b := range map[string][]byte{
		"sidecar.yaml": fmt.Appendf(nil, callbackConfig, sim.Endpoint(), sim.Organization()), "secret": []byte(sim.SigningSecret()),
		"ca.pem": sim.CertPEM(), "tls.crt": cert, "tls.key": key,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "sidecar.yaml"), config.OS())
	if err != nil {
		t.Fatal(err)
	}
	s, err := app.New(t.Context(), app.Options{Config: c, Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	return sim, "https://" + s.Addr("callback"), &http.Client{Transport: tr}
}

func serverCertificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "countersign"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// The signatures are the simulator's own, which shares no code with the provider.
func TestThePublicListenerTakesTracelessCallbacksAlone(t *testing.T) {
	sim, base, client := listening(t)
	post := func(path string, header http.Header, body []byte) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	const path, tx = "/v1/callbacks/traceless", "5d0c7f0e-0000-4000-8000-000000000001"
	header, body := sim.CallbackFor(tx, traceless.Callback{Status: "approved"})
	for name, tt := range map[string]struct {
		path string
		cb   traceless.Callback
		want int
	}{
		"of a transaction nobody waits for": {path, traceless.Callback{Status: "approved", Transaction: tx}, http.StatusNoContent},
		"signed with another key":           {path, traceless.Callback{Status: "approved", Key: "another"}, http.StatusUnauthorized},
		"too old":                           {path, traceless.Callback{Status: "approved", Skew: -10 * time.Minute}, http.StatusUnauthorized},
		"of the future":                     {path, traceless.Callback{Status: "approved", Skew: 10 * time.Minute}, http.StatusUnauthorized},
		"too large":                         {path, traceless.Callback{Body: strings.Repeat("x", 65<<10)}, http.StatusBadRequest},
		"of an unknown provider":            {"/v1/callbacks/duo", traceless.Callback{Status: "approved"}, http.StatusNotFound},
	} {
		h, b := sim.CallbackFor(tx, tt.cb)
		if code := post(tt.path, h, b); code != tt.want {
			t.Errorf("%s: %d, want %d", name, code, tt.want)
		}
	}
	for n := range 2 { // the same octets again change nothing, and tell whoever replays them nothing
		if code := post(path, header.Clone(), body); code != http.StatusNoContent {
			t.Errorf("time %d: %d", n+1, code)
		}
	}
	if code := post(path, header.Clone(), append([]byte(" "), body...)); code != http.StatusUnauthorized {
		t.Errorf("other octets under the same signature: %d", code)
	}
	if code := statusOf(t, client, base+path); code != http.StatusNotFound && code != http.StatusMethodNotAllowed {
		t.Errorf("GET = %d", code)
	}
	for _, inside := range []string{"/v1/holds", "/metrics", "/readyz", "/v1/people", "/graph.microsoft.com/v1.0/users"} {
		if code := statusOf(t, client, base+inside); code != http.StatusNotFound {
			t.Errorf("%s on the public listener = %d", inside, code)
		}
	}
}
