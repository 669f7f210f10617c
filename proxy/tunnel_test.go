package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/proxy"
)

const mirror = "mirror.example.org"

func (w *world) tunnel(first string) net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.proxyAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return &eager{Conn: c, first: first}
}

// in serves what is behind the tunnel in the name of host.
func (w *world) in(host string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: w.roots, DNSName: apiHost})
		return err
	}}
}

func TestATunnelPassesUnread(t *testing.T) {
	w := newWorld(t, nil)
	cfg := w.in(mirror)
	tc := tls.Client(w.tunnel("CONNECT "+mirror+":443 HTTP/1.1\r\n\r\n"), cfg)
	a := w.exchange(tc, "DELETE / HTTP/1.1\r\nHost: x\r\nCountersign-Ticket: 1\r\nConnection: close\r\n\r\n")
	if a.StatusCode != 200 || a.Header.Get("Proxy-Status") != "" || w.arrived()[0].Header.Get("Countersign-Ticket") != "1" {
		t.Errorf("answer = %d %v: it was read", a.StatusCode, a.Header)
	}
	_ = tc.Close()
	e := w.journal.of(t, audit.Completed, 1)[0]
	d := w.journal.of(t, audit.Decision, 1)[0]
	if e.Status != 200 || e.Bytes < 100 || e.Host != mirror || d.Effect != "allow" || d.Reasons[0].Code != "tunnelled" {
		t.Errorf("records = %+v, %+v", d, e)
	}
}

func TestATunnelTakesNothingButTLSForItsHost(t *testing.T) {
	for first, code := range map[string]string{"GET / HTTP/1.1\r\n\r\n": "malformed_request", "\x00\x01": "malformed_request", "": "authority_mismatch"} {
		w := newWorld(t, nil)
		c := w.tunnel("CONNECT " + mirror + ":443 HTTP/1.1\r\n\r\n")
		if first == "" {
			if err := tls.Client(c, &tls.Config{ServerName: "other.example"}).HandshakeContext(t.Context()); err == nil {
				t.Error("handshake with another name succeeded")
			}
		} else {
			_, _ = io.WriteString(c, first)
			if n, err := io.ReadAll(c); len(n) > 0 {
				t.Errorf("read %q, %v", n, err)
			}
		}
		if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != code {
			t.Errorf("%q: completed = %+v", first, e)
		}
		if len(w.arrived()) != 0 {
			t.Errorf("%q: arrived", first)
		}
	}
}

func TestATunnelThatCannotBeHadIsRefused(t *testing.T) {
	w := newWorld(t, nil, func(o *proxy.Options) { o.Tunnel = []string{"localhost", mirror} })
	w.want(w.raw(w.proxyAddr, "CONNECT localhost:443 HTTP/1.1\r\n\r\n"), 403, "destination_not_allowed") // by the address guard
	w.api.Close()
	w.want(w.raw(w.proxyAddr, "CONNECT "+mirror+":443 HTTP/1.1\r\n\r\n"), 502, "upstream_unreachable")
	w.journal.breakDown("all")
	w.want(w.raw(w.proxyAddr, "CONNECT "+mirror+":443 HTTP/1.1\r\n\r\n"), 403, "journal_unavailable")
}

func TestATunnelPassesTheEndOfOneSideOn(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		rest, _ := io.ReadAll(c) // ends with the agent's half of the connection
		_, _ = c.Write(rest)
	})
	cfg := w.in(mirror)
	cfg.NextProtos = []string{"http/1.1"}
	tc := tls.Client(w.tunnel("CONNECT "+mirror+":443 HTTP/1.1\r\n\r\n"), cfg)
	_, _ = io.WriteString(tc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrivals(w)
	_, _ = io.WriteString(tc, "half")
	if err := tc.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(tc); string(got) != "half" || err != nil {
		t.Errorf("read %q, %v after closing one side", got, err)
	}
}

func arrivals(w *world) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(w.arrived()) == 0 {
			<-time.After(time.Millisecond)
		}
	}()
	return done
}

func TestTunnelsEndWhenTheSidecarStops(t *testing.T) {
	w := newWorld(t, nil)
	cfg := w.in(mirror)
	tc := tls.Client(w.tunnel("CONNECT "+mirror+":443 HTTP/1.1\r\n\r\n"), cfg)
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	half := w.tunnel("")
	_, _ = io.WriteString(half, "CONNECT "+apiHost+":443 HTTP/1.1\r\n\r\n") // and never a ClientHello
	buf := make([]byte, 1)
	_ = half.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = half.Read(buf) // the answer has been skipped: what is left is the wait
	if err := w.server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	_ = tc.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := tc.Read(buf); err == nil {
		t.Error("the tunnel is still open")
	}
	if _, err := net.Dial("tcp", w.proxyAddr); err == nil {
		t.Error("the listener is still open")
	}
}

func TestPatternsOfHosts(t *testing.T) {
	a, err := proxy.NewAdmission([]string{"graph.microsoft.com", "*.sharepoint.com"}, []string{"api.llm.example", "*.mirror.example"})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]proxy.Verdict{
		"graph.microsoft.com": proxy.Intercepted, "x.graph.microsoft.com": proxy.NotAdmitted, "microsoft.com": proxy.NotAdmitted,
		"contoso.sharepoint.com": proxy.Intercepted, "a.b.sharepoint.com": proxy.Intercepted, "sharepoint.com": proxy.NotAdmitted,
		".sharepoint.com": proxy.NotAdmitted, "evilsharepoint.com": proxy.NotAdmitted, "api.llm.example": proxy.Tunnelled,
		"a.mirror.example": proxy.Tunnelled, "": proxy.NotAdmitted,
	} {
		if got := a.Admit(host); got != want {
			t.Errorf("Admit(%q) = %d, want %d", host, got, want)
		}
	}
	for _, bad := range []string{"*", "*.", "", "a.*", "*a.b", "A.b", "a..b", ".a", "a.", "a:443", "http://a", "-a.b", "*.*.a", "ä.b"} {
		if errs := proxy.CheckPatterns([]string{bad}, nil); len(errs) != 1 {
			t.Errorf("pattern %q: %v", bad, errs)
		}
	}
	for _, c := range []struct {
		intercept, tunnel string
		overlap           bool
	}{
		{"a.b", "a.b", true}, {"a.b", "*.b", true}, {"*.b", "a.b", true}, {"*.b", "*.a.b", true}, {"*.a.b", "*.b", true},
		{"a.b", "c.b", false}, {"a.b", "*.a.b", false}, {"*.a.b", "a.b", false}, {"*.xb", "*.b", false}, {"b", "*.b", false},
	} {
		if errs := proxy.CheckPatterns([]string{c.intercept}, []string{c.tunnel}); len(errs) > 0 != c.overlap {
			t.Errorf("intercept %q, tunnel %q: %v", c.intercept, c.tunnel, errors.Join(errs...))
		}
	}
	if !strings.Contains(errors.Join(proxy.CheckPatterns([]string{"a.b", "*"}, []string{"a.b"})...).Error(), "overlaps") {
		t.Error("not every problem is reported")
	}
}
