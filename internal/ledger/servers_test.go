package ledger_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"countersign/internal/ledger"
)

const testKey = "a key of the tests, of no less than 32 bytes"

// start starts a server on loopback that ends with the test.
func start(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStream = "127.0.0.1", server.RANDOM_PORT, true, true, true
	if o.StoreDir == "" {
		o.StoreDir = t.TempDir()
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stop(s) })
	for !s.ReadyForConnections(time.Second) {
		if t.Context().Err() != nil {
			t.Fatal("the server does not start")
		}
	}
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// cluster is three servers in this process whose routes can be cut.
type cluster struct {
	nodes []*server.Server
	links map[[2]int]*link // from, to
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	const size = 3
	c := &cluster{links: map[[2]int]*link{}}
	for from := range size {
		for to := range size {
			if from != to {
				c.links[[2]int{from, to}] = newLink(t)
			}
		}
	}
	nowhere := newLink(t) // what servers tell each other of, so that no route goes round the links
	for i := range size {
		o := server.Options{ServerName: fmt.Sprintf("node%d", i), Cluster: server.ClusterOpts{
			Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoAdvertise: true, Advertise: nowhere.addr(),
		}}
		for to := range size {
			if to != i {
				o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: c.links[[2]int{i, to}].addr()})
			}
		}
		c.nodes = append(c.nodes, start(t, o))
		for from := range size {
			if from != i {
				c.links[[2]int{from, i}].to(c.nodes[i].ClusterAddr().String())
			}
		}
	}
	return c
}

// url lists the nodes.
func (c *cluster) url(nodes ...int) string {
	var all []string
	for _, i := range nodes {
		all = append(all, c.nodes[i].ClientURL())
	}
	return strings.Join(all, ",")
}

// leader returns the node that leads the bucket.
func (c *cluster) leader(t testing.TB, bucket string) int {
	t.Helper()
	for {
		for i, n := range c.nodes {
			if n.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, "KV_"+bucket) {
				return i
			}
		}
		pause(t)
	}
}

// isolate cuts a node off from the others, though not from its clients.
func (c *cluster) isolate(node int, cut bool) {
	for ends, l := range c.links {
		if ends[0] == node || ends[1] == node {
			l.set(cut)
		}
	}
}

// open opens a ledger and waits until it is ready.
func open(t testing.TB, o ledger.Options) *ledger.Ledger {
	t.Helper()
	l := openAny(t, o)
	ready(t, l)
	return l
}

func openAny(t testing.TB, o ledger.Options) *ledger.Ledger {
	t.Helper()
	if o.Key == "" {
		o.Key = testKey
	}
	l, err := ledger.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, l) })
	return l
}

func ready(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	for l.Ready(t.Context()) != nil {
		pause(t)
	}
}

func closeNow(t testing.TB, l *ledger.Ledger) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// pause lets a moment pass between two looks at something that tells nobody when it changes.
func pause(t testing.TB) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal("the test has ended")
	case <-time.After(20 * time.Millisecond):
	}
}

// link is a TCP connection that can be cut: what comes to its address goes on to a server.
type link struct {
	listener net.Listener

	mu     sync.Mutex
	target string // empty: nowhere
	cut    bool
	conns  map[net.Conn]struct{}
	wg     sync.WaitGroup
}

func newLink(t testing.TB) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: ln, conns: map[net.Conn]struct{}{}}
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		ln.Close()
		l.set(true)
		l.wg.Wait()
	})
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) to(target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = target
}

func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		for c := range l.conns {
			c.Close()
		}
		clear(l.conns)
	}
}

func (l *link) accept() {
	for {
		in, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.carry(in) })
	}
}

func (l *link) carry(in net.Conn) {
	defer in.Close()
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	if target == "" {
		return
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	l.mu.Lock()
	if l.cut {
		l.mu.Unlock()
		return
	}
	l.conns[in], l.conns[out] = struct{}{}, struct{}{}
	l.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
	wg.Go(func() { _, _ = io.Copy(in, out); in.Close() })
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, in)
	delete(l.conns, out)
}
