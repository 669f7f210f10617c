//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

var (
	scaleDesks = flag.String("desks", "1,4", "numbers of sidecars that TestWhatAHoldCostsTheCluster has share one ledger")
	scaleHolds = flag.Int("desk-holds", 60, "holds at each of these numbers")
	scaleRate  = flag.Int("desk-rate", 30, "holds a second, over all sidecars")
)

// prompt is a provider whose people approve at once.
type prompt struct{}

func (prompt) Start(_ context.Context, c providers.Challenge) (providers.Attempt, error) {
	return providers.Attempt{Asked: true, Transaction: "tx-" + c.HoldID}, nil
}

func (prompt) Wait(context.Context, string) (providers.Outcome, error) {
	return providers.Outcome{Verdict: providers.Approved, At: time.Now()}, nil
}

// forgetful is a journal that costs nothing: only the ledger is measured.
type forgetful struct{}

func (forgetful) Record(context.Context, audit.Event) error { return nil }

// timed notes how long writes to the ledger take.
type timed struct {
	hold.Ledger
	mu   sync.Mutex
	took []time.Duration
}

func (l *timed) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	began := time.Now()
	rev, err := l.Ledger.Store(ctx, e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, time.Since(began))
	return rev, err
}

// scaleCluster is three servers in this process, so that their counters and their CPU can be read.
type scaleCluster struct {
	t       *testing.T
	servers []*server.Server
	url     string
}

func startScaleCluster(t *testing.T) *scaleCluster {
	t.Helper()
	ports := freePorts(t, 6)
	c := &scaleCluster{t: t}
	var urls []string
	for i := range 3 {
		o := &server.Options{
			ServerName: fmt.Sprintf("node%d", i), Host: "127.0.0.1", Port: ports[i], StoreDir: t.TempDir(), JetStream: true, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "scale", Host: "127.0.0.1", Port: ports[3+i]},
		}
		for j := range 3 {
			if j != i {
				o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[3+j])})
			}
		}
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		c.servers = append(c.servers, s)
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	c.url = strings.Join(urls, ",")
	return c
}

// sample is what the servers have moved so far, routes between them included, and the CPU of this process.
type sample struct {
	inMsgs, outMsgs, inBytes, outBytes int64
	cpu                                time.Duration
}

func (c *scaleCluster) sample() sample {
	c.t.Helper()
	var out sample
	for _, s := range c.servers {
		v, err := s.Varz(nil)
		if err != nil {
			c.t.Fatal(err)
		}
		out.inMsgs += v.InMsgs
		out.outMsgs += v.OutMsgs
		out.inBytes += v.InBytes
		out.outBytes += v.OutBytes
	}
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		c.t.Fatal(err)
	}
	out.cpu = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	return out
}

// fleetOfDesks opens one ledger connection and one desk for each sidecar.
func (c *scaleCluster) fleetOfDesks(t *testing.T, n int) (desks []*hold.Desk, stores []*timed) {
	t.Helper()
	key := ledger.Secret(rand.Text() + rand.Text())
	bucket := fmt.Sprintf("scale%d", n)
	for range n {
		l, err := ledger.Open(t.Context(), ledger.Options{URL: c.url, Key: key, Bucket: bucket})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close(context.Background()) }) // nothing to lose
		for l.Ready(t.Context()) != nil {
			if t.Context().Err() != nil {
				t.Fatal("the cluster is never ready")
			}
		}
		one := &timed{Ledger: l}
		stores = append(stores, one)
		d, err := hold.NewDesk(hold.Options{
			Ledger: one, Recorder: forgetful{}, Verifiers: []hold.Named{{Name: "phone", Verifier: prompt{}}}, Shared: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Drain(context.Background()) }) // nothing is pending
		for {                                                   // by then its own watches are under way
			_, err := d.List(t.Context())
			if err == nil {
				break
			}
			if !errors.Is(err, hold.ErrLedger) || t.Context().Err() != nil { // new watches on a busy machine may miss a heartbeat
				t.Fatal(err)
			}
		}
		desks = append(desks, d)
	}
	return desks, stores
}

// serveOne sees one hold through: opened, approved, redeemed, answered, left.
func serveOne(ctx context.Context, d *hold.Desk, n int) error {
	r := hold.Request{
		Exchange: strconv.Itoa(n), API: "microsoft-graph", Summary: "Reset the password of bob@contoso.com",
		Subject: policy.Subject{Agent: "helpdesk-1", Ticket: "T-1042", Requester: policy.Requester{
			ID: fmt.Sprintf("employee%d@contoso.com", n), Assurance: policy.AssuranceAttested,
		}},
		Operations: []policy.Operation{{Name: "user.password.reset", Summary: "Reset the password of bob@contoso.com", Resource: policy.Resource{Type: "user", ID: "bob@contoso.com"}}},
		Decision:   policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester"}, Revision: "r1"},
	}
	binary.BigEndian.PutUint64(r.Digest[:], uint64(n)+1)
	a, err := d.Attach(ctx, r)
	if err != nil {
		return err
	}
	defer a.Leave(true)
	rec, err := a.Wait(ctx)
	if err != nil || rec.State != hold.Approved {
		return fmt.Errorf("wait: %v, %w", rec.State, err)
	}
	if _, err := d.Redeem(ctx, rec.ID, rec.Digest, r.Exchange); err != nil {
		return err
	}
	return d.Answered(ctx, rec.ID)
}

// What docs/scale.md has of fleets comes from here: go test -tags e2e ./internal/e2e -run WhatAHoldCostsTheCluster -v -desks 1,2,4,8,16,32,64
func TestWhatAHoldCostsTheCluster(t *testing.T) {
	c := startScaleCluster(t)
	for _, text := range strings.Split(*scaleDesks, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("-desks %s: not a number of sidecars", text)
		}
		t.Run(text, func(t *testing.T) { c.measure(t, n) })
	}
}

func (c *scaleCluster) measure(t *testing.T, n int) {
	desks, stores := c.fleetOfDesks(t, n)
	for i, d := range desks { // leases and connections are paid for before the count
		if err := serveOne(t.Context(), d, 1<<20+i); err != nil {
			t.Fatal(err)
		}
	}
	began, before := time.Now(), c.sample()
	tick := time.NewTicker(time.Second / time.Duration(*scaleRate))
	defer tick.Stop()
	var callers sync.WaitGroup
	var refused atomic.Int64
	for i := range *scaleHolds {
		<-tick.C
		callers.Go(func() {
			switch err := serveOne(t.Context(), desks[i%n], i); {
			case errors.Is(err, hold.ErrLedger): // refused, as it should be while the servers choose a leader
				refused.Add(1)
			case err != nil:
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if r := int(refused.Load()); r > *scaleHolds/20 {
		t.Errorf("%d of %d holds were refused for the ledger's sake: the counts say nothing", r, *scaleHolds)
	}
	took, after := time.Since(began), c.sample()
	holds := float64(*scaleHolds)
	per := func(a, b int64) float64 { return float64(b-a) / holds }
	var writes []time.Duration
	for _, one := range stores {
		one.mu.Lock()
		writes = append(writes, one.took...)
		one.mu.Unlock()
	}
	slices.Sort(writes)
	at := func(q float64) time.Duration {
		return writes[int(q*float64(len(writes)-1))].Round(10 * time.Microsecond)
	}
	t.Logf("%d sidecars, %.0f holds a second: a hold took the servers %.0f messages and %.1f KB in, %.0f messages and %.1f KB out; CPU of servers and sidecars %.1f ms; write p50 %v, p99 %v",
		n, holds/took.Seconds(), per(before.inMsgs, after.inMsgs), per(before.inBytes, after.inBytes)/1024,
		per(before.outMsgs, after.outMsgs), per(before.outBytes, after.outBytes)/1024,
		float64((after.cpu-before.cpu).Microseconds())/1000/holds, at(0.5), at(0.99))
}
