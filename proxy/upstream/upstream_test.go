package upstream_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/proxy/upstream"
)

// host is what the certificate of httptest's TLS servers is for.
const host = "example.com"

// serve starts a TLS server for host and an Upstream that finds it there.
func serve(t *testing.T, h2 bool, h http.HandlerFunc) (*upstream.Upstream, *httptest.Server) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = h2
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return reach(t, srv.Listener.Addr().String(), srv, upstream.Options{}), srv
}

func reach(t *testing.T, addr string, srv *httptest.Server, o upstream.Options) *upstream.Upstream {
	t.Helper()
	o.Resolve = map[string]string{host: addr}
	o.RootCAs = x509.NewCertPool()
	o.RootCAs.AddCert(srv.Certificate())
	u, err := upstream.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

func request(t *testing.T, method, target, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// read sends a request and returns the body of its answer, with the status in front unless that is 200.
func read(t *testing.T, send func(*http.Request) (*http.Response, error), req *http.Request) string {
	t.Helper()
	resp, err := send(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return resp.Status + " " + string(b)
	}
	return string(b)
}

func TestAResolvedHostKeepsItsNameEverywhere(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		u, _ := serve(t, h2, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, r.TLS.ServerName+" "+r.Host+" "+r.Proto)
		})
		want := "example.com example.com HTTP/1.1"
		if h2 {
			want = "example.com example.com HTTP/2.0"
		}
		if got := read(t, u.RoundTrip, request(t, http.MethodGet, "https://EXAMPLE.com/", "")); !strings.EqualFold(got, want) {
			t.Errorf("pooled: got %q, want %q", got, want)
		}
		conn, err := u.Connect(t.Context(), host, "443")
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, conn.RoundTrip, request(t, http.MethodPost, "https://example.com/", "x")); got != want {
			t.Errorf("fresh: got %q, want %q", got, want)
		}
	}
}

func TestTheCertificateMustBeTheHosts(t *testing.T) {
	_, srv := serve(t, true, func(http.ResponseWriter, *http.Request) {})
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	u, err := upstream.New(upstream.Options{Resolve: map[string]string{"graph.microsoft.com": srv.Listener.Addr().String()}, RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.Connect(t.Context(), "graph.microsoft.com", "443")
	if !errors.Is(err, upstream.ErrUnreachable) || !strings.Contains(err.Error(), "certificate not trusted") {
		t.Errorf("Connect = %v, want an untrusted certificate", err)
	}
}

func TestNoProxyIsTakenFromTheEnvironment(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	u, _ := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "direct") })
	if got := read(t, u.RoundTrip, request(t, http.MethodGet, "https://example.com/", "")); got != "direct" {
		t.Errorf("got %q", got)
	}
}

func TestRedirectsAndEncodingsPassThrough(t *testing.T) {
	u, _ := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("Accept-Encoding = %q was added", got)
		}
		w.Header().Set("Location", "https://elsewhere.example/")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(w, "not really gzip")
	})
	if got := read(t, u.RoundTrip, request(t, http.MethodGet, "https://example.com/", "")); got != "302 Found not really gzip" {
		t.Errorf("got %q", got)
	}
}

func TestOnlyHTTPSIsDialled(t *testing.T) {
	u, _ := serve(t, false, func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	body := &closed{Reader: strings.NewReader("x")}
	req := request(t, http.MethodPost, "http://example.com/", "")
	req.Body = body
	resp, err := u.RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Error("plain http was sent")
	}
	if !body.is.Load() {
		t.Error("the body was not closed")
	}
}

type closed struct {
	io.Reader
	is atomic.Bool
}

func (c *closed) Close() error { c.is.Store(true); return nil }

func TestPrivateAddressesAreRefused(t *testing.T) {
	var logged bytes.Buffer
	u, err := upstream.New(upstream.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0"} {
		resp, err := u.RoundTrip(request(t, http.MethodGet, "https://"+net.JoinHostPort(h, "443")+"/", ""))
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, upstream.ErrAddressRefused) {
			t.Errorf("%s: RoundTrip = %v, want ErrAddressRefused", h, err)
		}
		if _, err := u.Dial(t.Context(), h, "443"); !errors.Is(err, upstream.ErrAddressRefused) {
			t.Errorf("%s: Dial = %v, want ErrAddressRefused", h, err)
		}
		if _, err := u.Connect(t.Context(), h, "443"); !errors.Is(err, upstream.ErrAddressRefused) {
			t.Errorf("%s: Connect = %v, want ErrAddressRefused", h, err)
		}
	}
	if !strings.Contains(logged.String(), "169.254.169.254") {
		t.Error("the refused address was not logged")
	}
}

func TestAnOperatorMayAllowPrivateAddresses(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in") }))
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	u, err := upstream.New(upstream.Options{AllowPrivate: true, RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	if got := read(t, u.RoundTrip, request(t, http.MethodGet, srv.URL, "")); got != "in" {
		t.Errorf("got %q", got)
	}
	if _, err := u.Dial(t.Context(), "169.254.169.254", "80"); !errors.Is(err, upstream.ErrAddressRefused) {
		t.Errorf("metadata service: %v, want ErrAddressRefused", err)
	}
}

func TestAConnectionCarriesOneRequest(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		var calls atomic.Int32
		u, _ := serve(t, h2, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
		conn, err := u.Connect(t.Context(), host, "443")
		if err != nil {
			t.Fatal(err)
		}
		read(t, conn.RoundTrip, request(t, http.MethodPatch, "https://example.com/users/bob", "{}"))
		if resp, err := conn.RoundTrip(request(t, http.MethodPatch, "https://example.com/users/bob", "{}")); !errors.Is(err, upstream.ErrUsed) {
			t.Errorf("second RoundTrip = %v, want ErrUsed", err)
			if err == nil {
				_ = resp.Body.Close()
			}
		}
		if calls.Load() != 1 {
			t.Errorf("upstream saw %d requests, want 1", calls.Load())
		}
	}
}

func TestAConnectionCarriesNoOtherHostsRequest(t *testing.T) {
	u, _ := serve(t, true, func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	conn, err := u.Connect(t.Context(), host, "443")
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := conn.RoundTrip(request(t, http.MethodGet, "https://other.example/", "")); err == nil {
		_ = resp.Body.Close()
		t.Error("a request for another host was sent")
	}
}

func TestEveryConnectIsAFreshConnectionAndEndsWithItsBody(t *testing.T) {
	var mu sync.Mutex
	remotes := map[string]bool{}
	states := make(chan http.ConnState, 100)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		remotes[r.RemoteAddr] = true
	}))
	srv.EnableHTTP2 = true
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
	srv.StartTLS()
	t.Cleanup(srv.Close)
	u := reach(t, srv.Listener.Addr().String(), srv, upstream.Options{})
	for range 3 {
		conn, err := u.Connect(t.Context(), host, "443")
		if err != nil {
			t.Fatal(err)
		}
		read(t, conn.RoundTrip, request(t, http.MethodPost, "https://example.com/", "x"))
	}
	if len(remotes) != 3 {
		t.Errorf("3 requests came over %d connections", len(remotes))
	}
	for shut := 0; shut < 3; {
		select {
		case s := <-states:
			if s == http.StateClosed {
				shut++
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%d of 3 connections were closed", shut)
		}
	}
}

func TestASilentUpstreamTimesOut(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		release := make(chan struct{})
		_, srv := serve(t, h2, func(http.ResponseWriter, *http.Request) { <-release })
		u := reach(t, srv.Listener.Addr().String(), srv, upstream.Options{Timeout: 50 * time.Millisecond})
		resp, err := u.RoundTrip(request(t, http.MethodGet, "https://example.com/", ""))
		if !errors.Is(err, upstream.ErrTimeout) {
			t.Errorf("h2=%t: pooled: got %v, %v, want ErrTimeout", h2, resp, err)
		}
		conn, err := u.Connect(t.Context(), host, "443")
		if err != nil {
			t.Fatal(err)
		}
		resp, err = conn.RoundTrip(request(t, http.MethodPost, "https://example.com/", "x"))
		if !errors.Is(err, upstream.ErrTimeout) {
			t.Errorf("h2=%t: fresh: got %v, %v, want ErrTimeout", h2, resp, err)
		}
		close(release)
	}
}

func TestACallerWhoLeavesIsNoTimeout(t *testing.T) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	u, _ := serve(t, true, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	resp, err := u.RoundTrip(request(t, http.MethodGet, "https://example.com/", "").WithContext(ctx))
	if !errors.Is(err, context.Canceled) || errors.Is(err, upstream.ErrTimeout) || errors.Is(err, upstream.ErrUnreachable) {
		t.Errorf("got %v, %v, want context.Canceled", resp, err)
	}
}

func TestAnErrorNamesTheHostAndNoAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	u, err := upstream.New(upstream.Options{Resolve: map[string]string{host: addr}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = u.Dial(t.Context(), host, "443")
	if !errors.Is(err, upstream.ErrUnreachable) {
		t.Fatalf("got %v, want ErrUnreachable", err)
	}
	if got, want := err.Error(), "upstream example.com: unreachable: connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Error("the cause cannot be found")
	}
}

func TestResolveTakesAnAddressAndAPort(t *testing.T) {
	for _, bad := range []string{"127.0.0.1", "127.0.0.1:http", ":443", "127.0.0.1:0", "127.0.0.1:70000", ""} {
		if _, err := upstream.New(upstream.Options{Resolve: map[string]string{host: bad}}); err == nil {
			t.Errorf("resolve to %q was accepted", bad)
		}
	}
	if _, err := upstream.New(upstream.Options{Timeout: -1}); err == nil {
		t.Error("a negative timeout was accepted")
	}
}

func TestHeadersThatNeverEndAreCutOff(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		u, _ := serve(t, h2, func(w http.ResponseWriter, _ *http.Request) {
			for i := range 60 {
				w.Header().Set("X-Long-"+strings.Repeat("a", i+1), strings.Repeat("x", 10<<10))
			}
		})
		resp, err := u.RoundTrip(request(t, http.MethodGet, "https://example.com/", ""))
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("h2=%t: 600 KB of headers were read", h2)
		}
	}
}

func TestATunnelPassesOctets(t *testing.T) {
	u, srv := serve(t, false, func(http.ResponseWriter, *http.Request) {})
	conn, err := u.Dial(t.Context(), host, "443")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if got := conn.RemoteAddr().String(); got != srv.Listener.Addr().String() {
		t.Errorf("connected to %s", got)
	}
}
