//go:build e2e && linux

package e2e

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"
	"countersign/internal/ledger"
	"countersign/providers"
)

// asHolder makes the test binary a sidecar in a process of its own, so that what it takes can be told from what its callers
// take. Its value is a holderSpec; orders come over standard input, one answer in JSON to each over standard output.
const asHolder = "COUNTERSIGN_TEST_HOLDER"

func init() {
	if spec := os.Getenv(asHolder); spec != "" {
		if err := runHolder(spec, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// holderSpec says what the process is.
type holderSpec struct {
	Dir      string // with sidecar.yaml; for OnlyLedger, of the ledger
	Scripted bool   // the provider is a scripted one in this process instead of Duo
	// OnlyLedger opens an embedded ledger, says what that took, and is done.
	OnlyLedger bool
}

// holderState answers every order.
type holderState struct {
	Addr       map[string]string // once, at the start
	RSS        int               // kB, after memory that is free was given back
	Grown      int               // kB, before that
	Goroutines int
	Heap       uint64           // bytes that live
	Stacks     uint64           // the same
	Approved   map[string]int64 // person → when, in ns of Unix time
	Took       time.Duration    // of opening a ledger
}

func runHolder(text string, orders io.Reader, answers io.Writer) error {
	var spec holderSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	app.TuneGC() // as `countersign run` does
	reply := json.NewEncoder(answers)
	if spec.OnlyLedger {
		return openOnlyLedger(spec.Dir, reply)
	}
	c, err := config.Load(filepath.Join(spec.Dir, "sidecar.yaml"), app.Environment())
	if err != nil {
		return err
	}
	crowd := &crowd{waiting: map[string]chan struct{}{}, change: make(chan struct{})}
	o := app.Options{Config: c, Version: "test", Logger: slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if spec.Scripted {
		o.Providers = map[string]app.Opener{"duo": func(app.ProviderOptions) (providers.Verifier, error) { return crowd, nil }}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sidecar, err := app.New(ctx, o)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- sidecar.Run(ctx) }()
	if err := reply.Encode(holderState{Addr: map[string]string{"proxy": sidecar.Addr("proxy"), "reverse": sidecar.Addr("reverse")}}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(orders); lines.Scan(); {
		state, err := crowd.obey(strings.Fields(lines.Text()))
		if err == nil {
			err = reply.Encode(state)
		}
		if err != nil {
			return err
		}
	}
	cancel()
	return <-done
}

func openOnlyLedger(dir string, reply *json.Encoder) error {
	before, err := atRest()
	if err != nil {
		return err
	}
	begun := time.Now()
	l, err := ledger.Open(context.Background(), ledger.Options{Dir: dir})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	after, err := atRest()
	if err != nil {
		return err
	}
	after.RSS, after.Took = after.RSS-before.RSS, took
	return errors.Join(reply.Encode(after), l.Close(context.Background()))
}

// atRest gives back what is free and says what is left.
func atRest() (holderState, error) {
	var s holderState
	var err error
	if s.Grown, err = rss(); err != nil {
		return s, err
	}
	for range 3 { // stacks shrink by half at each collection
		debug.FreeOSMemory()
	}
	if s.RSS, err = rss(); err != nil {
		return s, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.Goroutines, s.Heap, s.Stacks = runtime.NumGoroutine(), m.HeapAlloc, m.StackInuse
	return s, nil
}

// rss reads the resident memory of this process, in kB.
func rss() (int, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0, errors.New("no VmRSS")
	}
	return strconv.Atoi(f[0])
}

// crowd is a provider whose people answer when told to. It keeps a channel for each and nothing else.
type crowd struct {
	mu      sync.Mutex
	order   []string // who was asked and has not answered, first asked first
	asked   int
	waiting map[string]chan struct{}
	change  chan struct{} // closed at the next asking
}

// Start asks at once.
func (c *crowd) Start(_ context.Context, ch providers.Challenge) (providers.Attempt, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	c.order = append(c.order, ch.Person.ID)
	c.waiting[ch.Person.ID] = make(chan struct{})
	close(c.change)
	c.change = make(chan struct{})
	return providers.Attempt{Asked: true, Transaction: ch.Person.ID}, nil
}

// Wait waits for the person's yes.
func (c *crowd) Wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	c.mu.Lock()
	yes := c.waiting[transaction]
	c.mu.Unlock()
	select {
	case <-yes:
		return providers.Outcome{Verdict: providers.Approved, AMR: []string{"mfa"}}, nil
	case <-ctx.Done():
		return providers.Outcome{}, ctx.Err()
	}
}

// obey does one order: "asked N" waits until N people were asked since the start, "rest" frees memory, "approve N RATE" has
// N people answer, RATE a second, and "profile DIR" writes profiles.
func (c *crowd) obey(order []string) (holderState, error) {
	number := func(i int) int {
		n, _ := strconv.Atoi(order[i]) // of this test's own making
		return n
	}
	switch {
	case len(order) == 2 && order[0] == "asked":
		c.until(number(1))
		return holderState{}, nil
	case len(order) == 1 && order[0] == "rest":
		return atRest()
	case len(order) == 3 && order[0] == "approve":
		return c.approve(number(1), number(2)), nil
	case len(order) == 2 && order[0] == "profile":
		return holderState{}, profile(order[1])
	default:
		return holderState{}, fmt.Errorf("unknown order %q", order)
	}
}

func (c *crowd) until(n int) {
	for {
		c.mu.Lock()
		asked, change := c.asked, c.change
		c.mu.Unlock()
		if asked >= n {
			return
		}
		<-change
	}
}

func (c *crowd) approve(n, rate int) holderState {
	at := map[string]int64{}
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for range n {
		<-tick.C
		c.mu.Lock()
		person := c.order[0]
		c.order = c.order[1:]
		yes := c.waiting[person]
		delete(c.waiting, person)
		c.mu.Unlock()
		at[person] = time.Now().UnixNano()
		close(yes)
	}
	return holderState{Approved: at}
}

func profile(dir string) error {
	for _, name := range []string{"heap", "goroutine"} {
		f, err := os.Create(filepath.Join(dir, name+".pprof"))
		if err != nil {
			return err
		}
		err = pprof.Lookup(name).WriteTo(f, 0)
		if err := cmp.Or(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// startArrivals starts an upstream under Graph's name that tells of a call at its first octets, and returns its certificate.
func startArrivals(t testing.TB, arrived func(path string)) (*httptest.Server, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"graph.microsoft.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived(r.URL.Path)
		_, _ = io.Copy(io.Discard, r.Body) // the answer is the same either way
		w.WriteHeader(http.StatusNoContent)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestWhatTheEmbeddedLedgerAddsToTheStart opens one in a process that has nothing else.
func TestWhatTheEmbeddedLedgerAddsToTheStart(t *testing.T) {
	h := &holder{t: t}
	h.run(holderSpec{Dir: t.TempDir(), OnlyLedger: true})
	s := h.read()
	t.Logf("the embedded ledger: open in %v, %d kB", s.Took.Round(10*time.Microsecond), s.RSS)
	if s.RSS > 15<<10 {
		t.Errorf("the embedded ledger takes %d kB, target %d", s.RSS, 10<<10)
	}
}
