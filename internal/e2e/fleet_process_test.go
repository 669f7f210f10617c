//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// asNode makes the test binary one server of a NATS cluster, so that SIGKILL is what ends it.
const asNode = "COUNTERSIGN_TEST_NATS_NODE"

func init() {
	if spec := os.Getenv(asNode); spec != "" {
		err := runNode(spec)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// node says what one server listens on, and where the others are.
type node struct {
	Name          string
	Dir           string
	Port, Cluster int
	Routes        []int // the cluster ports of all
}

// runNode serves until the parent's end of standard input closes.
func runNode(spec string) error {
	var n node
	if err := json.Unmarshal([]byte(spec), &n); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, StoreDir: n.Dir, JetStream: true, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "fleet", Host: "127.0.0.1", Port: n.Cluster},
	}
	for _, p := range n.Routes {
		if p != n.Cluster {
			o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", p)})
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return err
}

// process is a program that the test started, and may kill.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
	err    error // of the exit, once exited is closed
}

func startProcess(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, stdin: stdin, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() { _ = p.end(syscall.SIGKILL) }) // an error, if it did not end before
	return p
}

// end sends a signal and waits for the end of the process, which may have come before.
func (p *process) end(s syscall.Signal) error {
	_ = p.cmd.Process.Signal(s)
	<-p.exited
	_ = p.stdin.Close()
	return p.err
}

// natsCluster is three servers, each a process.
type natsCluster struct {
	url   string
	nodes map[string]*process
}

func startNATS(t testing.TB) *natsCluster {
	t.Helper()
	const size = 3
	ports := freePorts(t, 2*size)
	c := &natsCluster{nodes: map[string]*process{}}
	for i := range size {
		n := node{Name: fmt.Sprintf("node%d", i), Dir: t.TempDir(), Port: ports[i], Cluster: ports[size+i], Routes: ports[size:]}
		spec, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), asNode+"="+string(spec)), os.Stderr
		c.nodes[n.Name] = startProcess(t, cmd)
		if i > 0 {
			c.url += ","
		}
		c.url += fmt.Sprintf("nats://127.0.0.1:%d", n.Port)
	}
	return c
}

// leader asks the cluster which server leads the ledger's stream.
func (c *natsCluster) leader(t testing.TB) string {
	t.Helper()
	nc, err := nats.Connect(c.url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_countersign")
	if err != nil {
		t.Fatal(err)
	}
	info := s.CachedInfo()
	if info.Config.Replicas != 3 || info.Cluster == nil || c.nodes[info.Cluster.Leader] == nil {
		t.Fatalf("the ledger's stream is %+v, want three copies with a leader", info)
	}
	return info.Cluster.Leader
}

// freePorts returns ports that nothing listened on a moment ago: servers of a cluster have to know each other's beforehand.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // not before all are found
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// buildSidecar builds the program as users get it.
func buildSidecar(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "countersign")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../../cmd/countersign")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return file
}

// replica is one countersign process of a fleet. Its folder outlives it.
type replica struct {
	t      testing.TB
	name   string
	binary string
	dir    string // with sidecar.yaml

	mu      sync.Mutex
	process *process
	addr    map[string]string // of its listeners, of the process that runs
}

// run starts the process and waits until it is ready, ledger included.
func (r *replica) run() {
	r.t.Helper()
	cmd := exec.Command(r.binary, "run", "-c", filepath.Join(r.dir, "sidecar.yaml"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir}
	log, err := os.OpenFile(filepath.Join(r.dir, "log.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	stderr, w := io.Pipe()
	cmd.Stderr = io.MultiWriter(log, w)
	p := startProcess(r.t, cmd)
	addr, bound := map[string]string{}, make(chan struct{})
	var lines sync.WaitGroup
	lines.Go(func() {
		defer log.Close()
		line := bufio.NewScanner(stderr)
		line.Buffer(nil, 1<<20)
		for line.Scan() {
			var l struct{ Msg, Listener, Address string }
			if json.Unmarshal(line.Bytes(), &l) == nil && l.Msg == "listening" && len(addr) < 3 {
				if addr[l.Listener] = l.Address; len(addr) == 3 {
					close(bound)
				}
			}
		}
		_, _ = io.Copy(io.Discard, stderr)
	})
	r.t.Cleanup(func() {
		_ = p.end(syscall.SIGKILL) // an error, if it did not end before
		_ = w.Close()
		lines.Wait()
	})
	select {
	case <-bound:
	case <-p.exited:
		said, _ := os.ReadFile(log.Name()) // as far as it goes
		r.t.Fatalf("%s does not start: %v\n%s", r.name, p.err, said)
	}
	r.mu.Lock()
	r.process, r.addr = p, addr
	r.mu.Unlock()
	r.ready()
}

// ready waits until nothing is wrong, by the word of the replica itself.
func (r *replica) ready() {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	said := ""
	for said != "ready" {
		select {
		case <-tick.C:
		case <-r.t.Context().Done():
			r.t.Fatalf("%s is %q", r.name, said)
		}
		said = r.readiness()
	}
}

func (r *replica) readiness() string {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.address("control")+"/readyz", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var body struct{ Status string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return err.Error()
	}
	return body.Status
}

func (r *replica) address(listener string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addr[listener]
}

// kill ends the process as a crash does.
func (r *replica) kill() { _ = r.current().end(syscall.SIGKILL) } // an error is what is meant

// stop ends the process in order.
func (r *replica) stop() {
	r.t.Helper()
	if err := r.current().end(syscall.SIGTERM); err != nil {
		r.t.Errorf("%s stopped with %v", r.name, err)
	}
}

func (r *replica) current() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}
