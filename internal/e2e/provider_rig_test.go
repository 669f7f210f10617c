package e2e

import (
	"context"
	"encoding/pem"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"countersign/internal/app"
	"countersign/internal/app/microsoft365"
	"countersign/internal/config"
	"countersign/internal/requester"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/entra"
	"countersign/internal/sim/graph"
	"countersign/internal/sim/traceless"
)

// stage is a rig whose providers and sinks the test writes as an operator would: every service that a person can be asked
// through is simulated, and sidecar.yaml names those that the test is about.
type stage struct {
	*rig
	entra     *entra.Server
	entraURL  string
	traceless *traceless.Server
	sink      *sink
	env       map[string]string

	mu   sync.Mutex
	gate func(*http.Request) // meets every call to the simulated Microsoft, if set
}

// players change the simulated services before they start.
type players struct {
	duo       duo.Options
	entra     entra.Options
	traceless traceless.Options
	sink      int // so many deliveries are refused first
}

const connectorSecret = "connector~secret.0123456789-ABCDEF" // of a simulated application

// rehearse starts the services. open starts the sidecar.
func rehearse(t testing.TB, p players) *stage {
	t.Helper()
	s := &stage{rig: &rig{t: t, dir: t.TempDir(), log: &syncBuffer{}, level: slog.LevelDebug}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	s.duo, err = duo.Start(p.duo)
	must(err)
	t.Cleanup(func() { _ = s.duo.Close() }) // simulators have nothing to lose
	s.traceless, err = traceless.Start(p.traceless)
	must(err)
	t.Cleanup(func() { _ = s.traceless.Close() })
	s.graph, err = graph.New(graph.Options{})
	must(err)
	must(s.graph.Start())
	t.Cleanup(s.graph.Close)
	s.token, err = s.graph.Token(graph.Claims{})
	must(err)
	s.startEntra(p.entra)
	s.sink = startSink(t, p.sink)
	s.key, err = requester.GenerateKey(requester.ES256)
	must(err)
	must(requester.WriteKeys(filepath.Join(s.dir, "keys"), s.key))
	s.env = map[string]string{
		"DUO_SKEY": s.duo.SecretKey(), "M365_SECRET": entra.DefaultClientSecret, "CONNECTOR_SECRET": connectorSecret,
		"TRACELESS_SECRET": s.traceless.SigningSecret(), "SINK_SECRET": sinkSecret,
	}
	s.write("graph-ca.pem", s.graph.CertPEM())
	s.write("duo-ca.pem", s.duo.CertPEM())
	s.write("traceless-ca.pem", s.traceless.CertPEM())
	return s
}

func (s *stage) startEntra(o entra.Options) {
	s.t.Helper()
	if o.People == nil {
		o.People = []entra.Person{{UPN: alice}, {UPN: bob}}
	}
	var err error
	if s.entra, err = entra.New(o); err != nil {
		s.t.Fatal(err)
	}
	if err := s.entra.AddMFACredential(connectorSecret, nil); err != nil {
		s.t.Fatal(err)
	}
	handler := s.entra.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		gate := s.gate
		s.mu.Unlock()
		if gate != nil {
			gate(r)
		}
		handler.ServeHTTP(w, r)
	}))
	s.t.Cleanup(server.Close)
	s.entraURL = server.URL
	s.write("entra-ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

// The providers as an operator writes them, pointed at the simulators.
func (s *stage) duoYAML(more string) string {
	return fmt.Sprintf(`{type: duo, host: "%s", integration_key: "%s", secret_key: "${env:DUO_SKEY}", root_cas: duo-ca.pem%s}`,
		s.duo.Host(), s.duo.IntegrationKey(), more)
}

func (s *stage) m365YAML(mode string) string {
	connector := `, connector: {secret: "${env:CONNECTOR_SECRET}"}`
	if mode == "sign_in" {
		connector = ""
	}
	return fmt.Sprintf(`{type: microsoft365, mode: %s, tenant_id: "%s", client_id: "%s", client_secret: "${env:M365_SECRET}"%s, `+
		`urls: {login: "%[5]s", graph: "%[5]s", connector: "%[5]s"}, root_cas: entra-ca.pem}`,
		mode, entra.DefaultTenant, entra.DefaultClientID, connector, s.entraURL)
}

func (s *stage) tracelessYAML(more string) string {
	return fmt.Sprintf(`{type: traceless, endpoint: "%s", organization: "%s", signing_secret: "${env:TRACELESS_SECRET}", `+
		`push_method: Microsoft Authenticator, root_cas: traceless-ca.pem, adapter: {interval: 1s}%s}`,
		s.traceless.Endpoint(), s.traceless.Organization(), more)
}

// sinkYAML is a signed webhook to the stage's own receiver.
func (s *stage) sinkYAML(name, more string) string {
	return fmt.Sprintf(`{name: %s, type: webhook, url: "%s/%[1]s", secrets: ["${env:SINK_SECRET}"]%[3]s}`, name, s.sink.url, more)
}

// freely is a budget that no test of something else runs into.
const freely = "{interval: 0s, per_15m: 50, denials: 50}"

// open writes sidecar.yaml and starts the sidecar on it. Sections that the test does not write are the stage's own.
func (s *stage) open(sections ...string) {
	s.t.Helper()
	text := strings.Join(sections, "\n") + "\n"
	for name, section := range map[string]string{
		"listen": "{proxy: 127.0.0.1:0, reverse: \"\", control: 127.0.0.1:0, callback: 127.0.0.1:0}",
		"upstream": fmt.Sprintf("{resolve: {graph.microsoft.com: \"%[1]s\", login.microsoftonline.com: \"%[1]s\"}, root_cas: graph-ca.pem}",
			s.graph.Addr()),
		"requester":    fmt.Sprintf("{assertions: {issuer: \"%s\", audience: countersign, jwks: keys/jwks.json}}", issuer),
		"control":      "{token: " + ctlToken + "}",
		"verification": "{budget: " + freely + "}",
		"notify":       "[" + s.sinkYAML("sink", "") + "]",
	} {
		if !strings.Contains("\n"+text, "\n"+name+":") {
			text += name + ": " + section + "\n"
		}
	}
	s.write("sidecar.yaml", []byte(text))
	s.run()
}

// run starts the sidecar on the stage's file, as `countersign run` does.
func (s *stage) run() {
	s.t.Helper()
	env := app.Environment()
	env.Lookup = func(name string) (string, bool) { v, ok := s.env[name]; return v, ok }
	c, err := config.Load(filepath.Join(s.dir, "sidecar.yaml"), env)
	if err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: s.level}))
	sidecar, err := app.New(s.t.Context(), app.Options{Config: c, Version: "test", Logger: log, Providers: microsoft365.Providers()})
	if err != nil {
		s.t.Fatal(err)
	}
	// The application's redirect address: in a tenant an administrator enters it once.
	err = s.entra.AddApp(entra.App{
		ClientID: entra.DefaultClientID, DisplayName: "Countersign", Secrets: []string{entra.DefaultClientSecret}, Roles: entra.ReadRoles(),
		RedirectURIs: []string{"http://" + sidecar.Addr("callback") + "/verify/m365/callback"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- sidecar.Run(ctx) }()
	s.sidecar = sidecar
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	stop := s.stop
	s.t.Cleanup(func() {
		if err := stop(); err != nil {
			s.t.Errorf("the sidecar stopped with %v", err)
		}
	})
}

// meet sets what every call to the simulated Microsoft meets.
func (s *stage) meet(gate func(*http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
}

// left returns what the sidecar leaves behind: its log and every file it writes, by name.
func (s *stage) left() map[string]string {
	s.t.Helper()
	out := map[string]string{"the log": s.log.String()}
	err := filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = string(b)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// sent is how often upstream got the reset of bob's password.
func (s *stage) sent() int { return len(s.graph.Received(http.MethodPatch, bobPath)) }

// refused fails unless an answer is that refusal, and nothing was executed.
func (s *stage) refused(a answer, code string) {
	s.t.Helper()
	if a.status != http.StatusForbidden || a.code() != code || s.sent() != 0 {
		s.t.Errorf("answer = %d %s, sent %d times; want 403 %s and nothing sent", a.status, a.body, s.sent(), code)
	}
}
