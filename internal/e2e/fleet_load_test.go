//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/requester"
	"countersign/internal/sim/duo"
)

// countingAPI stands in for Graph and counts what it executes, by path.
type countingAPI struct {
	*httptest.Server
	certPEM []byte

	mu       sync.Mutex
	executed map[string]int
	slow     func(path string) time.Duration // how long it takes after it has counted
	answer   http.HandlerFunc                // nil: 204
	counted  chan struct{}                   // closed at the next one
}

var apiNames = []string{"graph.microsoft.com", "management.azure.com", "iam.amazonaws.com", "api.github.com"}

func startCountingAPI(t testing.TB, slow func(string) time.Duration) *countingAPI {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: apiNames, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &countingAPI{
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), executed: map[string]int{}, slow: slow, counted: make(chan struct{}),
	}
	a.Server = httptest.NewUnstartedServer(a)
	a.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	a.StartTLS()
	t.Cleanup(func() {
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// ServeHTTP counts a call whose body came whole, and then takes its time.
func (a *countingAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	a.mu.Lock()
	a.executed[r.URL.Path]++
	close(a.counted)
	a.counted = make(chan struct{})
	a.mu.Unlock()
	t := time.NewTimer(a.slow(r.URL.Path))
	defer t.Stop()
	select {
	case <-t.C:
		if a.answer != nil {
			a.answer(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case <-r.Context().Done():
	}
}

// executions returns how often a path was executed, and a channel that closes when anything is.
func (a *countingAPI) executions(path string) (int, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.executed[path], a.counted
}

// processFleet is two countersign processes over one cluster, between simulated services.
type processFleet struct {
	t        testing.TB
	duo      *duo.Server
	api      *countingAPI
	key      requester.Key
	nats     *natsCluster
	replicas []*replica
	client   *http.Client

	resets atomic.Int64
	mu     sync.Mutex
	heard  map[string]int // answers by code
}

func startProcessFleet(t testing.TB, slow func(string) time.Duration) *processFleet {
	t.Helper()
	f := &processFleet{t: t, nats: startNATS(t), api: startCountingAPI(t, slow), heard: map[string]int{}}
	var err error
	if f.duo, err = duo.Start(duo.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.duo.Close() }) // nothing to lose
	if f.key, err = requester.GenerateKey(requester.ES256); err != nil {
		t.Fatal(err)
	}
	binary, ledgerKey := buildSidecar(t), crand.Text()+crand.Text()
	for _, name := range []string{"A", "B"} {
		r := &replica{t: t, name: name, binary: binary, dir: t.TempDir()}
		if err := requester.WriteKeys(filepath.Join(r.dir, "keys"), f.key); err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string]string{
			"graph-ca.pem": string(f.api.certPEM), "duo-ca.pem": string(f.duo.CertPEM()), "sidecar.yaml": f.yaml(ledgerKey),
		} {
			if err := os.WriteFile(filepath.Join(r.dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.run()
		f.replicas = append(f.replicas, r)
	}
	tr := &http.Transport{DisableKeepAlives: true, DialContext: dialAbrupt}
	f.client = &http.Client{Transport: tr}
	return f
}

// dialAbrupt makes connections whose end is a reset, as that of a caller that is killed.
func dialAbrupt(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if tc, ok := c.(*net.TCPConn); ok {
		err = tc.SetLinger(0)
	}
	return c, err
}

func (f *processFleet) yaml(ledgerKey string) string {
	return fmt.Sprintf(`
listen: {proxy: 127.0.0.1:0, reverse: 127.0.0.1:0, control: 127.0.0.1:0}
upstream:
  resolve: {graph.microsoft.com: "%s"}
  root_cas: graph-ca.pem
requester:
  assertions: {issuer: "%s", audience: countersign, jwks: keys/jwks.json}
verification:
  max_wait: 5s
  budget: {interval: 0s, per_15m: 100, per_day: 100, denials: 100, cooloff_after_denial: 0s, per_agent_15m: 1000, per_tenant_15m: 1000}
ledger: {url: "%s", key: "%s", replicas: 3}
providers:
  duo: {type: duo, host: "%s", integration_key: "%s", secret_key: "%s", root_cas: duo-ca.pem}
`, f.api.Listener.Addr(), issuer, f.nats.url, ledgerKey, f.duo.Host(), f.duo.IntegrationKey(), f.duo.SecretKey())
}

// job is one password reset that one employee asked for.
type job struct {
	person, path string
	denies       bool
	assertion    string
	outcome      string // "" once upstream answered, else the code of the refusal that ended it
	began        time.Time
	history      []string // what its caller met, in order
}

func (f *processFleet) job(i int, script duo.Script) *job {
	f.t.Helper()
	o := &job{
		person: fmt.Sprintf("employee%04d@contoso.com", i), path: fmt.Sprintf("/v1.0/users/target%04d@contoso.com", i), denies: script.Result == "deny",
	}
	var err error
	o.assertion, err = requester.Mint(requester.MintOptions{
		Key: f.key, Issuer: issuer, Audience: "countersign", Subject: o.person, Ticket: fmt.Sprintf("T-%d", i), Agent: fmt.Sprintf("helpdesk-%d", i%20),
		TID: fmt.Sprintf("11111111-aaaa-4bbb-8ccc-%012d", i%4), TTL: time.Hour, // pushes are limited by agent and by directory
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.duo.Add(duo.Person{Username: o.person, Script: script})
	return o
}

// send sends the operation once, to one replica. The answer's code is "" for upstream's own.
func (f *processFleet) send(ctx context.Context, r *replica, o *job, wait string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://"+r.address("reverse")+"/graph.microsoft.com"+o.path, strings.NewReader(resetBody))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer opaque-token-of-the-agent")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Countersign-Assertion", o.assertion)
	if wait != "" {
		req.Header.Set("Countersign-Wait", wait)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.Header, string(b)}
	if err == nil {
		f.mu.Lock()
		f.heard[fmt.Sprintf("%d %s", a.status, a.code())]++
		f.mu.Unlock()
	}
	return a, err
}

// see sends the operation to random replicas, as impatient agents do, until it has an outcome.
func (f *processFleet) see(o *job) {
	o.began = time.Now()
	for f.t.Context().Err() == nil {
		ctx, cancel := context.WithCancel(f.t.Context())
		reset := rand.N(10) < 3
		if reset {
			time.AfterFunc(rand.N(4*time.Second), cancel)
		}
		r := f.replicas[rand.N(len(f.replicas))]
		a, err := f.send(ctx, r, o, []string{"", "", "", "", "1", "async"}[rand.N(6)])
		o.history = append(o.history, fmt.Sprintf("%.1fs %s %d %s", time.Since(o.began).Seconds(), r.name, a.status, a.code()))
		if err != nil && reset && ctx.Err() != nil {
			f.resets.Add(1)
		}
		cancel()
		pause := time.Second
		switch {
		case err != nil:
			pause = 200 * time.Millisecond // reset, or nobody listens there
		case a.status == http.StatusNoContent, a.code() == "verification_denied", a.code() == "outcome_unknown":
			o.outcome = a.code()
			return
		case a.status == http.StatusAccepted, a.status == http.StatusServiceUnavailable, a.code() == "duplicate_in_flight":
		case a.status != http.StatusForbidden:
			o.outcome = fmt.Sprintf("%d %s", a.status, cmp.Or(a.code(), a.body))
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-f.t.Context().Done():
		}
		t.Stop()
	}
}
