package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"
	"countersign/internal/requester"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/graph"
)

// Who plays.
const (
	alice = "alice@contoso.com"
	bob   = "bob@contoso.com"
)

// stage is everything that runs during a demo.
type stage struct {
	dir   string
	duo   *duo.Server
	graph *graph.Server
	key   requester.Key // signs assertions, as the ticket system would

	sidecar *app.Sidecar
	cancel  context.CancelFunc
	done    chan error
	phone   *http.Server
	phoneAt string

	agent *http.Client
	token string // the agent's own, for Graph
}

func open(ctx context.Context, answer string, log *slog.Logger) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "countersign-demo-"); err != nil {
		return nil, err
	}
	if err := s.openServices(answer); err != nil {
		return nil, err
	}
	if err := s.openSidecar(ctx, log); err != nil {
		return nil, err
	}
	if err := s.openAgent(); err != nil {
		return nil, err
	}
	return s, s.openPhone(ctx)
}

// openServices starts the simulated cloud.
func (s *stage) openServices(answer string) (err error) {
	person, lifetime := script(answer)
	if s.duo, err = duo.Start(duo.Options{Lifetime: lifetime}); err != nil {
		return err
	}
	s.duo.Add(duo.Person{Username: alice, Script: person})
	if s.graph, err = graph.New(graph.Options{}); err != nil {
		return err
	}
	if err = s.graph.Start(); err != nil {
		return err
	}
	s.token, err = s.graph.Token(graph.Claims{})
	return err
}

// settings is the sidecar's whole configuration: what an operator would write, with stand-ins for the two services.
const settings = `listen: {proxy: 127.0.0.1:0, reverse: "", control: ""}
upstream:
  resolve: {graph.microsoft.com: "%s"} # the simulated Graph
  root_cas: graph-ca.pem
requester:
  assertions: {issuer: https://tickets.contoso.com, audience: countersign, jwks: keys/jwks.json}
providers:
  duo: {type: duo, host: "%s", integration_key: "%s", secret_key: "${env:DUO_SKEY}", root_cas: duo-ca.pem}
`

// openSidecar writes a sidecar.yaml, loads it and runs the sidecar as `countersign run` does.
func (s *stage) openSidecar(ctx context.Context, log *slog.Logger) error {
	key, err := requester.GenerateKey(requester.ES256)
	if err != nil {
		return err
	}
	if err := requester.WriteKeys(filepath.Join(s.dir, "keys"), key); err != nil {
		return err
	}
	s.key = key
	yaml := fmt.Sprintf(settings, s.graph.Addr(), s.duo.Host(), s.duo.IntegrationKey())
	file := filepath.Join(s.dir, "sidecar.yaml")
	for name, content := range map[string][]byte{
		file: []byte(yaml), filepath.Join(s.dir, "graph-ca.pem"): s.graph.CertPEM(), filepath.Join(s.dir, "duo-ca.pem"): s.duo.CertPEM(),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return err
		}
	}
	env := app.Environment()
	env.Lookup = func(name string) (string, bool) { return s.duo.SecretKey(), name == "DUO_SKEY" }
	c, err := config.Load(file, env)
	if err != nil {
		return err
	}
	if s.sidecar, err = app.New(ctx, app.Options{Config: c, Version: "demo", Logger: log}); err != nil {
		return err
	}
	var run context.Context
	run, s.cancel = context.WithCancel(ctx)
	s.done = make(chan error, 1)
	go func() { s.done <- s.sidecar.Run(run) }()
	return nil
}

// openAgent makes an ordinary HTTP client: a proxy, a CA to trust, nothing else.
func (s *stage) openAgent() error {
	ca, err := os.ReadFile(filepath.Join(s.dir, "state", "ca", "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	t := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: s.sidecar.Addr("proxy")}),
		TLSClientConfig: tlsRoots(roots), ForceAttemptHTTP2: true,
	}
	s.agent = &http.Client{Transport: t, Timeout: 2 * time.Minute}
	return nil
}

func (s *stage) openPhone(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.phone = &http.Server{Handler: s.duo.Phone(), ReadHeaderTimeout: 5 * time.Second}
	s.phoneAt = "http://" + l.Addr().String() + "/"
	go func() { _ = s.phone.Serve(l) }() // ends with close
	return nil
}

// stop ends the sidecar in order and waits for it. A second call does nothing.
func (s *stage) stop() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	return <-s.done
}

func (s *stage) close() error {
	err := s.stop()
	if s.agent != nil {
		s.agent.CloseIdleConnections()
	}
	if s.phone != nil {
		err = errors.Join(err, s.phone.Close())
	}
	if s.graph != nil {
		s.graph.Close()
	}
	if s.duo != nil {
		err = errors.Join(err, s.duo.Close())
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
