//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"
	"countersign/internal/sim/duo"
)

// clientEnv is the environment of a client that uses the sidecar: the proxy with upn's assertion as its password, and what
// `countersign ca env` says. Nothing else of this process's environment but the PATH.
func (r *rig) clientEnv(upn string) []string {
	r.t.Helper()
	c, err := config.Load(filepath.Join(r.dir, "sidecar.yaml"), config.Environment{
		Lookup: func(string) (string, bool) { return "x", true }, ReadFile: os.ReadFile,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	c.Listen.Proxy = "" // a free port was bound: the address is not the file's
	trust, err := app.OpenTrust(c)
	if err != nil {
		r.t.Fatal(err)
	}
	var out, talk bytes.Buffer
	if err := trust.Env(&out, &talk); err != nil {
		r.t.Fatal(err)
	}
	user := ""
	if upn != "" {
		user = "x:" + r.assertion(upn) + "@"
	}
	proxy := "http://" + user + r.sidecar.Addr("proxy")
	modules, err := filepath.Abs(filepath.Join("..", "..", "bin", "node", "node_modules")) // scripts/e2e-deps puts them there
	if err != nil {
		r.t.Fatal(err)
	}
	env := []string{"NODE_PATH=" + modules, "PATH=" + os.Getenv("PATH"), "HTTPS_PROXY=" + proxy, "https_proxy=" + proxy, "GRAPH_TOKEN=" + r.token, "BODY=" + resetBody}
	for line := range strings.Lines(out.String()) {
		line, _, _ = strings.Cut(strings.TrimPrefix(line, "export "), " # ")
		name, value, _ := strings.Cut(line, "=")
		env = append(env, name+"="+strings.Trim(value, "'"))
	}
	return env
}

// Each client prints the status and the body of its own answer to a password reset.
var clients = []struct {
	name string
	argv []string
}{
	{"curl", []string{"curl", "-sS", "-X", "PATCH", bobURL, "-H", "Content-Type: application/json", "--oauth2-bearer", "$GRAPH_TOKEN",
		"-d", "$BODY", "-w", "%{http_code}"}},
	{"curl with HTTP/1.1", []string{"curl", "-sS", "--http1.1", "-X", "PATCH", bobURL, "-H", "Content-Type: application/json",
		"-H", "Authorization: Bearer $GRAPH_TOKEN", "-H", "Expect: 100-continue", "-d", "$BODY", "-w", "%{http_code}"}},
	{"Python requests", []string{"/usr/bin/python3", "-c", `
import os, requests
r = requests.patch("` + bobURL + `", data=os.environ["BODY"], headers={"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["GRAPH_TOKEN"]})
print(r.text, r.status_code)`}},
	{"Node's fetch", []string{"node", "-e", nodeScript}},
}

// nodeScript is Node's own fetch; undici's agent makes it read HTTPS_PROXY, as Node itself does from version 24 on.
const nodeScript = `
const { EnvHttpProxyAgent, setGlobalDispatcher } = require("undici");
setGlobalDispatcher(new EnvHttpProxyAgent());
fetch("` + bobURL + `", { method: "PATCH", body: process.env.BODY,
  headers: { "Content-Type": "application/json", Authorization: "Bearer " + process.env.GRAPH_TOKEN } })
  .then(async (r) => console.log(await r.text(), r.status));
`

func runClient(t *testing.T, r *rig, argv []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := make([]string, len(argv))
	for i, a := range argv {
		args[i] = strings.NewReplacer("$GRAPH_TOKEN", r.token, "$BODY", resetBody).Replace(a)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(r.clientEnv(alice), "HOME="+r.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", argv[0], err, out)
	}
	return string(out)
}

func TestOrdinaryClientsNeedNothingButTheirEnvironment(t *testing.T) {
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, options{})
			r.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
			if out := runClient(t, r, c.argv); !strings.Contains(out, "204") {
				t.Errorf("approved: %s", out)
			}
			if err := r.duo.Script(alice, duo.Deny()); err != nil {
				t.Fatal(err)
			}
			out := runClient(t, r, c.argv)
			if !strings.Contains(out, "403") || !strings.Contains(out, "was not reset: "+alice+" declined") {
				t.Errorf("denied: %s", out)
			}
			if n := len(r.graph.Received(http.MethodPatch, bobPath)); n != 1 {
				t.Errorf("upstream got %d requests, want 1", n)
			}
		})
	}
}
