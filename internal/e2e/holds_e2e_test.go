//go:build e2e && linux

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/requester"
	"countersign/internal/sim/duo"
)

var (
	holdsN   = flag.Int("holds", 1000, "how many holds TestWhatAHeldCallCosts keeps in one sidecar")
	holdsOut = flag.String("holds-profile", "", "folder for profiles of the sidecar while it holds")
)

const (
	warmUp       = 64  // calls before idle is measured: pools, caches and the certificate are there
	perTunnel    = 200 // streams; the sidecar takes 250 on one connection
	approvalRate = 100 // a second, while the way from an approval to the upstream is timed
	atRestFor    = 5 * time.Second
)

// carrier is one way for held calls to come in, and the memory that one may take.
type carrier struct {
	name   string
	target int // bytes a hold over idle
	most   int // bytes of live heap and stacks a hold: half as much again as there were
	duo    bool
	client func(h *holder, i int) *http.Client // for the i-th call
}

// TestWhatAHeldCallCosts keeps many calls held in a sidecar of its own process and measures memory, CPU at rest and how soon
// an approved call is on its way. -holds and -v give the figures of docs/performance.md. It fails only when far more lives in
// memory than was measured, because everything else depends on what else the machine does.
func TestWhatAHeldCallCosts(t *testing.T) {
	direct := &http.Transport{MaxIdleConnsPerHost: -1, DisableCompression: true}
	carriers := []carrier{
		{name: "HTTP2 streams in few tunnels", target: 12 << 10, most: 72 << 10, client: sharedTunnels()},
		{name: "HTTP1.1 on the reverse listener", target: 20 << 10, most: 96 << 10, client: func(*holder, int) *http.Client { return &http.Client{Transport: direct} }},
		{name: "HTTP1.1 in a tunnel of its own", target: 42 << 10, most: 120 << 10, client: func(h *holder, _ int) *http.Client { return h.tunnel(false) }},
		{name: "HTTP2 in a tunnel of its own", target: 42 << 10, most: 132 << 10, client: func(h *holder, _ int) *http.Client { return h.tunnel(true) }},
		{name: "HTTP1.1 on the reverse listener, Duo polled", duo: true, client: func(*holder, int) *http.Client { return &http.Client{Transport: direct} }},
	}
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) { measureHolds(t, c) })
	}
}

func measureHolds(t *testing.T, c carrier) {
	n := *holdsN
	if c.duo {
		n = min(n, 500) // a push of Duo's lasts a minute
	}
	h := startHolder(t, c.duo)
	h.warm(c)
	idle := h.order("rest")
	begun := time.Now()
	h.hold(c, warmUp, n)
	opening := time.Since(begun)
	held := h.order("rest")
	if *holdsOut != "" {
		h.order("profile " + *holdsOut)
	}
	cpu := h.ticks()
	timer := time.NewTimer(atRestFor)
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
	cpu = h.ticks() - cpu
	each := (held.RSS - idle.RSS) << 10 / n
	t.Logf("%d holds: %d B each over idle, target %d (idle %d kB, held %d kB, before memory was given back %d kB); live heap %d B and stacks %d B each, %.1f goroutines",
		n, each, c.target, idle.RSS, held.RSS, held.Grown, int(held.Heap-idle.Heap)/n, int(held.Stacks-idle.Stacks)/n,
		float64(held.Goroutines-idle.Goroutines)/float64(n))
	t.Logf("opened in %v (%.0f a second); CPU at rest %d ms in %v", opening.Round(time.Millisecond), float64(n)/opening.Seconds(), 10*cpu, atRestFor)
	if lives := (int(held.Heap-idle.Heap) + int(held.Stacks-idle.Stacks)) / n; c.most > 0 && lives > c.most {
		t.Errorf("what lives of a hold is %d bytes, want at most %d", lives, c.most)
	}
	if !c.duo {
		t.Log(h.release(min(n, 2000)))
	}
}

// holder is a sidecar in a process of its own, its upstream, and those who call it.
type holder struct {
	t       testing.TB
	dir     string
	process *exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
	addr    map[string]string
	roots   *rig // lends its reading of the CA
	key     requester.Key
	duo     *duo.Server
	api     *httptest.Server

	callers  sync.WaitGroup
	mu       sync.Mutex
	arrived  map[string]time.Time // at the upstream, by person
	answered map[int]int          // answers by status
	failed   error
	ended    chan struct{} // told of every answer
}

func startHolder(t testing.TB, withDuo bool) *holder {
	t.Helper()
	h := &holder{t: t, dir: t.TempDir(), arrived: map[string]time.Time{}, answered: map[int]int{}, ended: make(chan struct{}, 1<<16)}
	h.roots = &rig{t: t, dir: h.dir}
	var certificate []byte
	h.api, certificate = startArrivals(t, func(path string) {
		now := time.Now()
		h.mu.Lock()
		defer h.mu.Unlock()
		h.arrived[strings.TrimPrefix(path, "/v1.0/users/target-of-")] = now
	})
	var err error
	if h.duo, err = duo.Start(duo.Options{Lifetime: time.Hour}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.duo.Close() }) // nothing to lose
	if h.key, err = requester.GenerateKey(requester.ES256); err != nil {
		t.Fatal(err)
	}
	if err := requester.WriteKeys(filepath.Join(h.dir, "keys"), h.key); err != nil {
		t.Fatal(err)
	}
	h.roots.write("graph-ca.pem", certificate)
	h.roots.write("duo-ca.pem", h.duo.CertPEM())
	h.roots.write("sidecar.yaml", []byte(h.yaml()))
	h.run(holderSpec{Dir: h.dir, Scripted: !withDuo})
	h.addr = h.read().Addr
	return h
}

func (h *holder) yaml() string {
	return fmt.Sprintf(`
listen: {proxy: 127.0.0.1:0, reverse: 127.0.0.1:0, control: 127.0.0.1:0}
upstream:
  resolve: {graph.microsoft.com: "%s"}
  root_cas: graph-ca.pem
requester:
  assertions: {issuer: "%s", audience: countersign, jwks: keys/jwks.json}
verification:
  timeout: 50m
  max_wait: 0s
  max_holds: 100000
  budget: {interval: 0s, per_15m: 500, per_day: 500, denials: 500, per_agent_15m: 1000, per_tenant_15m: 1000}
providers:
  duo: {type: duo, host: "%s", integration_key: "%s", secret_key: "%s", root_cas: duo-ca.pem}
`, h.api.Listener.Addr(), issuer, h.duo.Host(), h.duo.IntegrationKey(), h.duo.SecretKey())
}

// run starts the process.
func (h *holder) run(spec holderSpec) {
	h.t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		h.t.Fatal(err)
	}
	h.process = exec.Command(os.Args[0])
	h.process.Env, h.process.Stderr = append(os.Environ(), asHolder+"="+string(text)), os.Stderr
	if h.orders, err = h.process.StdinPipe(); err != nil {
		h.t.Fatal(err)
	}
	out, err := h.process.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	h.answers = json.NewDecoder(bufio.NewReader(out))
	if err := h.process.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(h.stop)
}

// order has the process do something, and waits until it has.
func (h *holder) order(text string) holderState {
	h.t.Helper()
	if _, err := fmt.Fprintln(h.orders, text); err != nil {
		h.t.Fatal(err)
	}
	return h.read()
}

func (h *holder) read() holderState {
	h.t.Helper()
	var s holderState
	if err := h.answers.Decode(&s); err != nil {
		h.t.Fatalf("the sidecar's process: %v", err)
	}
	return s
}

// stop ends the process and those who still wait for it.
func (h *holder) stop() {
	_ = h.process.Process.Kill() // it may have ended by itself
	_ = h.orders.Close()
	_ = h.process.Wait() // killed, which is an error
	h.callers.Wait()
}

// ticks is the CPU time that the process has used, in hundredths of a second.
func (h *holder) ticks() int {
	h.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.process.Process.Pid))
	if err != nil {
		h.t.Fatal(err)
	}
	var user, system int
	f := strings.Fields(string(b[strings.LastIndex(string(b), ")")+1:]))
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		h.t.Fatal(err)
	}
	return user + system
}

// tunnel is a client whose calls each go through a CONNECT of their own.
func (h *holder) tunnel(h2 bool) *http.Client {
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: h.addr["proxy"]}),
		TLSClientConfig: &tls.Config{RootCAs: h.roots.roots(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: h2,
		MaxConnsPerHost: 1,
	}
	h.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// sharedTunnels gives the same client to calls that share a tunnel.
func sharedTunnels() func(*holder, int) *http.Client {
	var mu sync.Mutex
	clients := map[int]*http.Client{}
	return func(h *holder, i int) *http.Client {
		mu.Lock()
		defer mu.Unlock()
		if clients[i/perTunnel] == nil {
			clients[i/perTunnel] = h.tunnel(true)
		}
		return clients[i/perTunnel]
	}
}

// longReset is a password reset of 1 KB.
var longReset = fmt.Sprintf(`{"passwordProfile":{"password":"%s","forceChangePasswordNextSignIn":true}}`, strings.Repeat("x", 950))

// hold sends calls from number first on, each by another person, and returns when all are held. Few are on their way at once,
// so that it is their holding and not their coming that is measured.
func (h *holder) hold(c carrier, first, n int) {
	h.t.Helper()
	const atOnce = 50
	for i := first; i < first+n; i += atOnce {
		last := min(i+atOnce, first+n)
		for k := i; k < last; k++ {
			h.send(c, k)
		}
		if c.duo {
			tick := time.NewTicker(20 * time.Millisecond)
			for len(h.duo.Pushes()) < last {
				select {
				case <-tick.C:
				case <-h.t.Context().Done():
					h.t.Fatal("not all calls are held")
				}
			}
			tick.Stop()
			continue
		}
		h.order(fmt.Sprintf("asked %d", last))
	}
}

// send makes call number i. Who answers it is counted.
func (h *holder) send(c carrier, i int) {
	h.t.Helper()
	person := fmt.Sprintf("employee%05d@tenant%d.example", i, i/500)
	if c.duo {
		h.duo.Add(duo.Person{Username: person, Script: duo.Script{}})
	}
	assertion, err := requester.Mint(requester.MintOptions{
		Key: h.key, Issuer: issuer, Audience: "countersign", Subject: person, Ticket: fmt.Sprintf("T-%d", i), Agent: fmt.Sprintf("helpdesk-%d", i/50), TTL: time.Hour,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	target := "/v1.0/users/target-of-" + person
	base := "https://graph.microsoft.com"
	if strings.Contains(c.name, "reverse") {
		base = "http://" + h.addr["reverse"] + "/graph.microsoft.com"
	}
	client := c.client(h, i)
	h.callers.Go(func() {
		status, err := h.call(client, base+target, assertion)
		h.mu.Lock()
		h.answered[status]++
		if err != nil && h.failed == nil {
			h.failed = err
		}
		h.mu.Unlock()
		if status != http.StatusNoContent {
			_ = h.process.Process.Kill() // what waits for it to hold more calls would wait for ever
		}
		h.ended <- struct{}{}
	})
}

// call makes one call. Where the machine is so busy that policy is not asked in time, nothing was held, and it is made again.
func (h *holder) call(c *http.Client, target, assertion string) (int, error) {
	for {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPatch, target, strings.NewReader(longReset))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Authorization", "Bearer opaque-token-of-the-agent")
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Countersign-Assertion", assertion)
		resp, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // read whole
		if a := (answer{header: resp.Header}); err != nil || a.code() != "policy_unavailable" {
			return resp.StatusCode, err
		}
	}
}

// warm takes the sidecar through a few holds, so that idle is that of one that has worked.
func (h *holder) warm(c carrier) {
	h.t.Helper()
	h.hold(c, 0, warmUp)
	if c.duo {
		for _, p := range h.duo.Pushes() {
			if err := h.duo.Answer(p.TxID, "approve"); err != nil {
				h.t.Fatal(err)
			}
		}
	} else {
		h.order(fmt.Sprintf("approve %d 1000", warmUp))
	}
	h.answers204(warmUp)
}

// answers204 waits for that many answers, and wants each to be the upstream's.
func (h *holder) answers204(n int) {
	h.t.Helper()
	for range n {
		select {
		case <-h.ended:
		case <-h.t.Context().Done():
			h.t.Fatal("not all calls are answered")
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed != nil || len(h.answered) != 1 || h.answered[http.StatusNoContent] == 0 {
		h.t.Fatalf("answers by status: %v, %v", h.answered, h.failed)
	}
}

// release has n people approve and says how long it took until the upstream had their calls. Both ends read the clock of this
// machine.
func (h *holder) release(n int) string {
	h.t.Helper()
	approved := h.order(fmt.Sprintf("approve %d %d", n, approvalRate)).Approved
	h.answers204(n)
	h.mu.Lock()
	defer h.mu.Unlock()
	var took []time.Duration
	for person, at := range approved {
		there, ok := h.arrived[person]
		if !ok {
			h.t.Fatalf("the call of %s was approved and did not arrive", person)
		}
		took = append(took, there.Sub(time.Unix(0, at)))
	}
	slices.Sort(took)
	at := func(percent int) time.Duration {
		return took[min(len(took)*percent/100, len(took)-1)].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("approval to upstream, %d at %d a second: p50 %v, p95 %v, p99 %v, longest %v", n, approvalRate, at(50), at(95), at(99), at(100))
}
