package proxy_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/proxy"
	"countersign/proxy/intercept"
)

// journal is an audit.Journal in memory.
type journal struct {
	steps *steps

	mu      sync.Mutex
	events  []audit.Event
	durable []bool
	broken  string // kind that cannot be recorded; "all": none can
}

var errDisk = errors.New("disk full")

func (j *journal) Record(_ context.Context, e audit.Event) error { return j.add(e, true) }
func (j *journal) Append(_ context.Context, e audit.Event) error { return j.add(e, false) }

func (j *journal) add(e audit.Event, durable bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == "all" || j.broken == e.Kind {
		return errDisk
	}
	j.events, j.durable = append(j.events, e), append(j.durable, durable)
	j.steps.add("record " + e.Kind)
	return nil
}

// isDurable reports whether every event of a kind was on disk when it was recorded.
func (j *journal) isDurable(kind string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, e := range j.events {
		if e.Kind == kind && !j.durable[i] {
			return false
		}
	}
	return true
}

func (j *journal) breakDown(kind string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = kind
}

// of returns the events of one kind, once there are n of them.
func (j *journal) of(t testing.TB, kind string, n int) []audit.Event {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		var out []audit.Event
		j.mu.Lock()
		for _, e := range j.events {
			if e.Kind == kind {
				out = append(out, e)
			}
		}
		j.mu.Unlock()
		if len(out) >= n || time.Now().After(deadline) {
			if len(out) != n {
				t.Fatalf("%d %s records, want %d: %+v", len(out), kind, n, out)
			}
			return out
		}
		<-time.After(time.Millisecond)
	}
}

// script is a policy: GET is allowed, DELETE denied, everything else needs a person.
type script struct {
	mu    sync.Mutex
	asked int
	judge func(n int, in policy.Input) (policy.Decision, error)
}

func (s *script) set(f func(n int, in policy.Input) (policy.Decision, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judge = f
}

func (s *script) DecideAll(_ context.Context, ins []policy.Input) ([]policy.Decision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	judge := s.judge
	if judge == nil {
		judge = func(_ int, in policy.Input) (policy.Decision, error) { return byMethod(in), nil }
	}
	var out []policy.Decision
	for _, in := range ins {
		d, err := judge(s.asked, in)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func byMethod(in policy.Input) policy.Decision {
	switch in.Request.Method {
	case http.MethodGet, http.MethodHead:
		return policy.Decision{Effect: policy.Allow}
	case http.MethodDelete:
		return policy.Decision{Effect: policy.Deny, Reasons: []policy.Reason{{Code: "office_hours", Text: "Deletions are for office hours."}}}
	default:
		return stepUp()
	}
}

func stepUp() policy.Decision {
	return policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester"}}
}

// parser reads one operation out of any request; a body of lines is a batch.
type parser struct{}

func (parser) Parse(r operation.Request) (operation.Call, error) {
	if strings.Contains(string(r.Body), "ambiguous") {
		u := &operation.Uninspectable{Why: "the body is ambiguous"}
		if strings.Contains(string(r.Body), "password") {
			u.Resembles = &policy.Operation{Name: "user.password.reset", Category: "credential_reset", Sensitive: true, Undone: "The password of bob was not reset"}
		}
		return operation.Call{}, u
	}
	path, _, _ := strings.Cut(r.Target, "?")
	sum := sha256.Sum256([]byte(r.Method + "\n" + r.Host + "\n" + r.Target + "\n" + http.Header(r.Header).Get("Authorization") + "\n" + string(r.Body)))
	call := operation.Call{API: "microsoft-graph", Digest: sum, FalseEncoding: strings.HasPrefix(string(r.Body), "{plain")}
	parts := strings.Split(strings.TrimSuffix(string(r.Body), "\n"), "\n")
	call.Batch = len(parts) > 1
	for range parts {
		call.Inputs = append(call.Inputs, policy.Input{
			Operation: policy.Operation{Name: "user.password.reset", Category: "credential_reset", Summary: "Reset the password of bob", Undone: "The password of bob was not reset"},
			Request:   policy.Request{Method: r.Method, Host: r.Host, Path: path, Digest: sum},
		})
	}
	return call, nil
}

// identifier takes the word of Countersign-Assertion, on the request or on the CONNECT.
type identifier struct{}

func (identifier) Identify(_ context.Context, request, connect http.Header) requester.Identity {
	who := request.Get("Countersign-Assertion")
	if who == "" {
		who = connect.Get("Countersign-Assertion")
	}
	id := requester.Identity{Subject: policy.Subject{Agent: "helpdesk"}, Presented: who != "" || request.Get("Countersign-Requester") != ""}
	switch plain := request.Get("Countersign-Requester"); {
	case plain != "":
		id.Subject.Requester = policy.Requester{ID: plain, Assurance: policy.AssuranceAsserted}
	case who != "" && who != "expired":
		id.Subject.Requester = policy.Requester{ID: who, Assurance: policy.AssuranceAttested}
	}
	return id
}

type interceptor struct{ certs []tls.Certificate }

func (i interceptor) Handshake(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error) {
	c := tls.Server(conn, &tls.Config{
		Certificates: i.certs, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			if h.ServerName != "" && !strings.EqualFold(h.ServerName, host) {
				return nil, intercept.ErrSNI
			}
			return nil, nil
		},
	})
	return c, c.HandshakeContext(ctx)
}

// logged notes when a connection for a redeemed call is made.
type logged struct {
	proxy.Upstream
	steps *steps
}

func (l logged) Connect(ctx context.Context, host, port string) (proxy.FreshConn, error) {
	c, err := l.Upstream.Connect(ctx, host, port)
	if err == nil {
		l.steps.add("connect")
	}
	return c, err
}

// desk is a hold.Desk in memory, for one hold at a time, answered by the test.
type desk struct {
	steps *steps

	mu       sync.Mutex
	rec      hold.Record
	settled  chan struct{}
	drained  chan struct{}
	requests []hold.Request
	left     []bool
	async    int // callers that left to come back
	answered int
	refuse   error // of Attach
	nothing  bool  // Attach returns neither an attachment nor an error
	spent    error // of Redeem
	arrived  chan struct{}
}

func newDesk(s *steps) *desk {
	return &desk{steps: s, settled: make(chan struct{}), drained: make(chan struct{}), arrived: make(chan struct{}, 16)}
}

func (d *desk) drain() {
	select {
	case <-d.drained:
	default:
		close(d.drained)
	}
}

// settle gives the hold its outcome, now or when somebody attaches.
func (d *desk) settle(state hold.State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rec.State = state
	close(d.settled)
}

func (d *desk) Attach(_ context.Context, r hold.Request) (proxy.Attachment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.requests = append(d.requests, r)
	if d.refuse != nil {
		return nil, d.refuse
	}
	if d.nothing {
		return nil, nil
	}
	d.rec.ID, d.rec.Digest, d.rec.Subject, d.rec.Provider = "0123456789abcdef0123456789abcdef", r.Digest, r.Subject, "duo"
	if d.rec.State == hold.Unopened {
		d.rec.State = hold.Pending
	}
	d.steps.add("attach")
	d.arrived <- struct{}{}
	return &attachment{d}, nil
}

func (d *desk) record() hold.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	rec := d.rec
	if rec.State == hold.Approved && rec.Evidence == nil {
		rec.Evidence = &policy.Evidence{
			Hold: string(rec.ID), Provider: "duo", Approver: policy.Approver{ID: rec.Subject.Requester.ID}, ApprovedAt: time.Now(),
		}
	}
	return rec
}

func (d *desk) Redeem(_ context.Context, _ hold.ID, digest policy.Digest, _ string) (hold.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spent != nil {
		return hold.Record{}, d.spent
	}
	if d.rec.State != hold.Approved || !d.rec.Digest.Equal(digest) {
		return hold.Record{}, hold.ErrSpent
	}
	d.rec.State = hold.Spent
	d.steps.add("redeem")
	return d.rec, nil
}

func (d *desk) Answered(context.Context, hold.ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered++
	d.steps.add("answered")
	return nil
}

func (d *desk) leavings(t testing.TB, n int) []bool {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		d.mu.Lock()
		left := slices.Clone(d.left)
		d.mu.Unlock()
		if len(left) >= n || time.Now().After(deadline) {
			if len(left) != n {
				t.Fatalf("%d callers left, want %d", len(left), n)
			}
			return left
		}
		<-time.After(time.Millisecond)
	}
}

type attachment struct{ d *desk }

func (a *attachment) Record() hold.Record { return a.d.record() }

func (a *attachment) Settled(ctx context.Context) error {
	select {
	case <-a.d.settled:
		return nil
	default:
	}
	select {
	case <-a.d.settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-a.d.drained:
		return hold.ErrDraining
	}
}

func (a *attachment) Leave(delivered bool) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.d.left = append(a.d.left, delivered)
}

func (d *desk) leftAsync() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.async
}

func (a *attachment) LeaveAsync() {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.d.async++
}
