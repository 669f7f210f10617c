package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/app"
	"countersign/internal/audit"
	"countersign/internal/config"
	"countersign/internal/requester"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/graph"
)

const (
	alice    = "alice@contoso.com"
	bob      = "bob@contoso.com"
	password = "Wint3r-S3cret!"
	issuer   = "https://tickets.contoso.com"
	ctlToken = "control-token-of-the-test"
)

// rig is a sidecar that was started from a written file, between simulated services.
type rig struct {
	t       testing.TB
	dir     string
	duo     *duo.Server
	graph   *graph.Server
	sidecar *app.Sidecar
	key     requester.Key
	token   string // of the agent, for Graph
	log     *syncBuffer
	level   slog.Level
	stop    func() error // ends the sidecar in order; safe to call twice
}

// options change a rig before it starts. extra is appended to sidecar.yaml.
type options struct {
	lifetime time.Duration
	extra    string
	config   string // replaces the verification section
	graph    string // address of another Graph, with graphCA for its certificate
	graphCA  []byte
	level    slog.Level // of the log; everything for 0

	files     map[string][]byte // put beside sidecar.yaml
	callback  string            // address of the callback listener
	providers string            // more lines of the providers section
	resolve   []string          // more hosts that are where Graph is
	ledgerKey string            // of a fleet; "": a random one
	ledger    string            // more keys of a fleet's ledger section, each with a comma before it
}

func start(t testing.TB, o options) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), log: &syncBuffer{}}
	var err error
	if r.duo, err = duo.Start(duo.Options{Lifetime: o.lifetime}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.duo.Close() }) // simulators have nothing to lose
	if r.graph, err = graph.New(graph.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := r.graph.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.graph.Close)
	if r.token, err = r.graph.Token(graph.Claims{}); err != nil {
		t.Fatal(err)
	}
	if r.key, err = requester.GenerateKey(requester.ES256); err != nil {
		t.Fatal(err)
	}
	if err := requester.WriteKeys(filepath.Join(r.dir, "keys"), r.key); err != nil {
		t.Fatal(err)
	}
	if o.graph == "" {
		o.graph, o.graphCA = r.graph.Addr(), r.graph.CertPEM()
	}
	if r.level = o.level; o.level == 0 {
		r.level = slog.LevelDebug
	}
	r.write("graph-ca.pem", o.graphCA)
	r.write("duo-ca.pem", r.duo.CertPEM())
	for name, content := range o.files {
		r.write(name, content)
	}
	r.write("sidecar.yaml", []byte(r.yaml(o)))
	r.run()
	return r
}

func (r *rig) write(name string, b []byte) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), b, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) yaml(o options) string {
	verification := o.config
	if verification == "" {
		verification = "verification: {budget: {interval: 0s, per_15m: 50, denials: 50}}"
	}
	resolve := ""
	for _, host := range o.resolve {
		resolve += fmt.Sprintf(", %s: %q", host, o.graph)
	}
	return fmt.Sprintf(`
listen: {proxy: 127.0.0.1:0, reverse: 127.0.0.1:0, control: 127.0.0.1:0, callback: "%[8]s"}
upstream:
  resolve: {graph.microsoft.com: "%[1]s", login.microsoftonline.com: "%[1]s"%[10]s}
  root_cas: graph-ca.pem
requester:
  assertions: {issuer: "%[2]s", audience: countersign, jwks: keys/jwks.json}
control: {token: %[3]s}
providers:
  duo: {type: duo, host: "%[4]s", integration_key: "%[5]s", secret_key: "${env:DUO_SKEY}", root_cas: duo-ca.pem}
%[9]s
%[6]s
%[7]s
`, o.graph, issuer, ctlToken, r.duo.Host(), r.duo.IntegrationKey(), verification, o.extra, o.callback, o.providers, resolve)
}

// run starts the sidecar on the file in the rig's folder.
func (r *rig) run() {
	r.t.Helper()
	env := app.Environment()
	env.Lookup = func(name string) (string, bool) { return r.duo.SecretKey(), name == "DUO_SKEY" }
	c, err := config.Load(filepath.Join(r.dir, "sidecar.yaml"), env)
	if err != nil {
		r.t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: r.level}))
	sidecar, err := app.New(r.t.Context(), app.Options{Config: c, Version: "test", Logger: log})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- sidecar.Run(ctx) }()
	r.sidecar = sidecar
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	r.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			r.t.Errorf("the sidecar stopped with %v", err)
		}
	})
}

// assertion signs that upn asked.
func (r *rig) assertion(upn string) string {
	r.t.Helper()
	jwt, err := requester.Mint(requester.MintOptions{Key: r.key, Issuer: issuer, Audience: "countersign", Subject: upn, Ticket: "T-1042", Agent: "helpdesk-1"})
	if err != nil {
		r.t.Fatal(err)
	}
	return jwt
}

// roots trusts the interception CA and nothing else.
func (r *rig) roots() *x509.CertPool {
	r.t.Helper()
	pem, err := os.ReadFile(filepath.Join(r.dir, "state", "ca", "ca.crt"))
	if err != nil {
		r.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		r.t.Fatal("ca.crt holds no certificate")
	}
	return pool
}

// client is an ordinary HTTP client with HTTPS_PROXY set; upn's assertion goes as the proxy's password.
func (r *rig) client(upn string) *http.Client {
	r.t.Helper()
	u := &url.URL{Scheme: "http", Host: r.sidecar.Addr("proxy")}
	if upn != "" {
		u.User = url.UserPassword("x", r.assertion(upn))
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: r.roots(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the refusal code of an answer made here, "" for one passed on.
func (a answer) code() string {
	_, rest, ok := strings.Cut(a.header.Get("Proxy-Status"), `details="`)
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

func (r *rig) do(c *http.Client, method, target, body string, header ...string) answer {
	r.t.Helper()
	a, err := r.try(r.t.Context(), c, method, target, body, header...)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// try sends one request; header holds names and values in turn.
func (r *rig) try(ctx context.Context, c *http.Client, method, target, body string, header ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

const (
	bobURL  = "https://graph.microsoft.com/v1.0/users/" + bob
	bobPath = "/v1.0/users/" + bob
)

// resetBody sets bob's password.
const resetBody = `{"passwordProfile":{"password":"` + password + `","forceChangePasswordNextSignIn":true}}`

func (r *rig) reset(c *http.Client, header ...string) answer {
	r.t.Helper()
	return r.do(c, http.MethodPatch, bobURL, resetBody, header...)
}

// journal stops the sidecar, verifies the chain and returns the records.
func (r *rig) journal() []audit.Event {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Errorf("the sidecar stopped with %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(r.dir, "state", "journal.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := audit.Verify(r.t.Context(), bytes.NewReader(raw)); err != nil {
		r.t.Errorf("the journal's chain: %v", err)
	}
	var events []audit.Event
	for line := range strings.Lines(string(raw)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			r.t.Errorf("journal line %s: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

// noSecrets fails when a secret is in what the sidecar leaves behind.
func (r *rig) noSecrets() {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "state", "journal.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	for name, text := range map[string]string{"the journal": string(raw), "the log": r.log.String(), "the pushes": fmt.Sprint(r.duo.Pushes())} {
		for _, secret := range []string{password, r.token, r.duo.SecretKey(), ctlToken, strings.Split(r.assertion(alice), ".")[0] + "."} {
			if strings.Contains(text, secret) {
				r.t.Errorf("a secret (%.6s…) is in %s", secret, name)
			}
		}
	}
}

// syncBuffer is a log that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
