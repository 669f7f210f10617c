package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"countersign/proxy/upstream"
)

// rude is a TLS server that does to each connection what serve says.
func rude(t *testing.T, protos []string, serve func(*tls.Conn)) *upstream.Upstream {
	t.Helper()
	donor := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	t.Cleanup(donor.Close)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: donor.TLS.Certificates, NextProtos: protos, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				if tc := c.(*tls.Conn); tc.HandshakeContext(t.Context()) == nil {
					serve(tc)
				}
			})
		}
	})
	u := reach(t, ln.Addr().String(), donor, upstream.Options{})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return u
}

// refusal is how an HTTP/2 server turns a stream down.
type refusal func(fr *http2.Framer, id uint32) error

var refusals = map[string]refusal{
	"REFUSED_STREAM": func(fr *http2.Framer, id uint32) error { return fr.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
	"PROTOCOL_ERROR": func(fr *http2.Framer, id uint32) error { return fr.WriteRSTStream(id, http2.ErrCodeProtocol) },
	"GOAWAY":         func(fr *http2.Framer, _ uint32) error { return fr.WriteGoAway(0, http2.ErrCodeNo, nil) },
}

// speakH2 counts the requests on an HTTP/2 connection and refuses each. HTTP/1.1 requests it counts and hangs up on.
func speakH2(refuse refusal, seen *atomic.Int32) func(*tls.Conn) {
	return func(c *tls.Conn) {
		if c.ConnectionState().NegotiatedProtocol != "h2" {
			hangUp(seen, 1)(c)
			return
		}
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		if fr.WriteSettings() != nil {
			return
		}
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			case *http2.MetaHeadersFrame:
				seen.Add(1)
				if refuse(fr, f.StreamID) != nil {
					return
				}
			}
		}
	}
}

// hangUp answers the first requests of a connection, all but the last of limit, and closes on that one without an answer.
func hangUp(seen *atomic.Int32, limit int) func(*tls.Conn) {
	return func(c *tls.Conn) {
		br := bufio.NewReader(c)
		for n := 1; ; n++ {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			seen.Add(1)
			if n >= limit {
				return
			}
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
		}
	}
}

// writes are requests that must not be sent twice.
func writes(t *testing.T) map[string]func() *http.Request {
	t.Helper()
	return map[string]func() *http.Request{
		"POST without a body": func() *http.Request { return request(t, http.MethodPost, "https://example.com/revoke", "") },
		"POST without a body, with a key": func() *http.Request {
			r := request(t, http.MethodPost, "https://example.com/revoke", "")
			r.Header.Set("Idempotency-Key", "k")
			r.Header.Set("X-Idempotency-Key", "k")
			return r
		},
		"DELETE": func() *http.Request { return request(t, http.MethodDelete, "https://example.com/users/bob", "") },
		// NewRequest sets GetBody for a strings.Reader: net/http could send it again.
		"POST with a body and a key": func() *http.Request {
			r := request(t, http.MethodPost, "https://example.com/users", `{"a":1}`)
			r.Header.Set("Idempotency-Key", "k")
			return r
		},
	}
}

func TestAWriteIsSentOnceWhateverHTTP2Says(t *testing.T) {
	for how, refuse := range refusals {
		for what, make := range writes(t) {
			for _, fresh := range []bool{true, false} {
				var seen atomic.Int32
				u := rude(t, []string{"h2", "http/1.1"}, speakH2(refuse, &seen))
				send := u.RoundTrip
				if fresh {
					conn, err := u.Connect(t.Context(), host, "443")
					if err != nil {
						t.Fatal(err)
					}
					send = conn.RoundTrip
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // net/http would back off between its attempts
				resp, err := send(make().WithContext(ctx))
				cancel()
				if err == nil {
					_ = resp.Body.Close()
					t.Errorf("%s after %s (fresh %t): no error", what, how, fresh)
				}
				if n := seen.Load(); n != 1 {
					t.Errorf("%s after %s (fresh %t): sent %d times, want once", what, how, fresh, n)
				}
			}
		}
	}
}

func TestAWriteIsSentOnceOnADyingConnection(t *testing.T) {
	for what, make := range writes(t) {
		var seen atomic.Int32
		u := rude(t, []string{"http/1.1"}, hangUp(&seen, 2))
		read(t, u.RoundTrip, make())
		// The connection is kept alive now, and dies on its second request: the case in which net/http sends again.
		if resp, err := u.RoundTrip(make()); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s: no error", what)
		}
		if n := seen.Load(); n != 2 {
			t.Errorf("%s: %d requests arrived, want 2", what, n)
		}
	}
}

func TestAReadIsSentAgainOnADyingConnection(t *testing.T) {
	var seen atomic.Int32
	u := rude(t, []string{"http/1.1"}, hangUp(&seen, 2))
	for range 2 {
		read(t, u.RoundTrip, request(t, http.MethodGet, "https://example.com/", ""))
	}
	if n := seen.Load(); n != 3 {
		t.Errorf("%d requests arrived, want 3: two answered, one lost", n)
	}
}

func TestAnIdempotencyKeyReachesTheUpstream(t *testing.T) {
	u, _ := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.Header.Get("Idempotency-Key")+" "+r.Header.Get("Content-Length"))
	})
	req := request(t, http.MethodPost, "https://example.com/", "")
	req.Header.Set("Idempotency-Key", "k-1")
	if got := read(t, u.RoundTrip, req); !strings.HasPrefix(got, "HTTP/1.1 k-1") {
		t.Errorf("got %q", got)
	}
	if req.Header.Get("Idempotency-Key") != "k-1" {
		t.Error("the caller's header was changed")
	}
}
