package proxy_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	"countersign/proxy/upstream"
)

// apiHost is the intercepted host: the name that httptest's certificate is for.
const apiHost = "example.com"

// world is a sidecar between an agent and an upstream, with everything else scripted.
type world struct {
	t         testing.TB
	api       *httptest.Server
	journal   *journal
	policy    *script
	desk      *desk
	steps     *steps
	server    *proxy.Server
	proxyAddr string
	revAddr   string
	roots     *x509.CertPool

	mu   sync.Mutex
	seen []sent
}

// sent is what the upstream got.
type sent struct {
	*http.Request
	body []byte
}

// steps is the order in which things happened.
type steps struct {
	mu   sync.Mutex
	list []string
}

func (s *steps) add(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, what)
}

func (s *steps) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

type setup func(*proxy.Options)

// newWorld starts a sidecar in front of an upstream that runs handler; nil answers 200 and "ok".
func newWorld(t testing.TB, handler http.HandlerFunc, changes ...setup) *world {
	t.Helper()
	return newWorldOver(t, true, handler, changes...)
}

// newWorldOver is newWorld with an upstream that speaks HTTP/2, or HTTP/1.1 only.
func newWorldOver(t testing.TB, h2 bool, handler http.HandlerFunc, changes ...setup) *world {
	t.Helper()
	w := &world{t: t, steps: &steps{}}
	w.journal, w.policy, w.desk = &journal{steps: w.steps}, &script{}, newDesk(w.steps)
	w.api = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what came before an error is still to be seen
		w.mu.Lock()
		w.seen = append(w.seen, sent{r, body})
		w.mu.Unlock()
		w.steps.add("upstream")
		if handler == nil {
			_, _ = io.WriteString(rw, "ok")
			return
		}
		handler(rw, r)
	}))
	w.api.EnableHTTP2 = h2
	w.api.StartTLS()
	t.Cleanup(w.api.Close)
	w.roots = x509.NewCertPool()
	w.roots.AddCert(w.api.Certificate())
	up, err := upstream.New(upstream.Options{
		Resolve: map[string]string{apiHost: w.api.Listener.Addr().String(), "mirror.example.org": w.api.Listener.Addr().String()},
		RootCAs: w.roots, Timeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	o := proxy.Options{
		Parser: parser{}, Decider: w.policy, Holder: w.desk, Recorder: w.journal, Identifier: identifier{},
		Interceptor: interceptor{w.api.TLS.Certificates}, Upstream: logged{proxy.Reach(up), w.steps},
		Intercept: []string{apiHost}, Tunnel: []string{"mirror.example.org"}, Name: "test",
		MaxBody: 1 << 20, MaxHeader: 16 << 10,
	}
	for _, change := range changes {
		change(&o)
	}
	if w.server, err = proxy.New(o); err != nil {
		t.Fatal(err)
	}
	w.proxyAddr = w.serve(w.server.ServeProxy)
	w.revAddr = w.serve(w.server.ServeReverse)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		w.desk.drain()
		if err := w.server.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown = %v", err)
		}
	})
	return w
}

func (w *world) serve(serve func(context.Context, net.Listener) error) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serve(context.Background(), ln) }()
	w.t.Cleanup(func() {
		if err := <-done; err != nil {
			w.t.Errorf("serve = %v", err)
		}
	})
	return ln.Addr().String()
}

func (w *world) arrived() []sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// agent is a client behind the explicit proxy.
func (w *world) agent(h2 bool, connect http.Header) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{
		Proxy:              http.ProxyURL(&url.URL{Scheme: "http", Host: w.proxyAddr}),
		ProxyConnectHeader: connect,
		TLSClientConfig:    &tls.Config{RootCAs: w.roots},
		Protocols:          &p,
		DisableCompression: true,
	}
	w.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a response, read.
type answer struct {
	*http.Response
	body string
}

func (w *world) do(c *http.Client, method, target, body string, header http.Header) answer {
	w.t.Helper()
	a, err := w.try(w.t.Context(), c, method, target, body, header)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) try(ctx context.Context, c *http.Client, method, target, body string, header http.Header) (answer, error) {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, target, rd)
	if err != nil {
		return answer{}, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp, string(b)}, err
}

// alice is what an attested request carries.
func alice() http.Header { return http.Header{"Countersign-Assertion": {"alice@contoso.com"}} }

// code is the reason code of an answer made by the sidecar, "" for one of upstream's.
func (a answer) code() string {
	_, code, _ := strings.Cut(a.Header.Get("Proxy-Status"), `details="`)
	return strings.TrimSuffix(code, `"`)
}

func (w *world) want(a answer, status int, code string) {
	w.t.Helper()
	if a.StatusCode != status || a.code() != code {
		w.t.Errorf("answer = %d %q, want %d %q; body %s", a.StatusCode, a.code(), status, code, a.body)
	}
}

// raw sends octets to addr and reads one answer.
func (w *world) raw(addr, octets string) answer {
	w.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	return w.exchange(c, octets)
}

func (w *world) exchange(c net.Conn, octets string) answer {
	w.t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, octets); err != nil {
		w.t.Fatal(err)
	}
	rd := bufio.NewReader(c)
	resp, err := http.ReadResponse(rd, nil)
	if err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(rd, nil)
	}
	if err != nil {
		w.t.Fatalf("no answer to %q: %v", octets, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp, string(b)}
}

// inside opens a tunnel to apiHost and ends TLS in it.
func (w *world) inside(sni string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.proxyAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "CONNECT "+apiHost+":443 HTTP/1.1\r\nHost: "+apiHost+":443\r\n\r\n")
	buf := make([]byte, 39)
	if _, err := io.ReadFull(c, buf); err != nil || !strings.HasPrefix(string(buf), "HTTP/1.1 200 ") {
		w.t.Fatalf("CONNECT = %q, %v", buf, err)
	}
	tc := tls.Client(c, &tls.Config{RootCAs: w.roots, ServerName: sni})
	if err := tc.HandshakeContext(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return tc
}

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
		return operation.Call{}, &operation.Uninspectable{Why: "the body is ambiguous"}
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
	answered int
	refuse   error // of Attach
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

func (a *attachment) Wait(ctx context.Context) (hold.Record, error) {
	select {
	case <-a.d.settled:
		return a.d.record(), nil
	default:
	}
	select {
	case <-a.d.settled:
		return a.d.record(), nil
	case <-ctx.Done():
		return a.d.record(), ctx.Err()
	case <-a.d.drained:
		return a.d.record(), hold.ErrDraining
	}
}

func (a *attachment) Leave(delivered bool) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.d.left = append(a.d.left, delivered)
}
