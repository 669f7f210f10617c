package proxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"countersign/proxy"
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
	defer func() { _ = resp.Body.Close() }()
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
	defer func() { _ = c.Close() }()
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
	defer func() { _ = resp.Body.Close() }()
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
