package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"countersign/internal/audit"
)

func TestHTTP2RequestsAreBoundAndRecorded(t *testing.T) {
	w := newWorld(t, nil)
	c := w.inside2()
	for _, r := range []struct {
		fields []string
		status string
	}{
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/"}, "200"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", "other.example", ":path", "/"}, "403"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/", "host", "other.example"}, "403"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/", "host", apiHost}, "200"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "https://" + apiHost + "/"}, "403"},
		{[]string{":method", "OPTIONS", ":scheme", "https", ":authority", apiHost, ":path", "*"}, "400"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/", "x", strings.Repeat("x", 32<<10)}, "400"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/", "countersign_ticket", "1"}, "400"},
		{[]string{":method", "CONNECT", ":authority", "other.example:443"}, "403"},
		{[]string{":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "no slash"}, "reset"},
		{[]string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", apiHost, ":path", "/"}, "reset"},
	} {
		if got := c.roundTrip(r.fields); got != r.status {
			t.Errorf("%.120q = %s, want %s", r.fields, got, r.status)
		}
	}
	w.journal.of(t, audit.Completed, 11)
	if got := len(w.arrived()); got != 2 {
		t.Errorf("%d requests arrived, want 2", got)
	}
}

// h2Conn speaks HTTP/2 by hand, so that it can say what no client does.
type h2Conn struct {
	t      *testing.T
	framer *http2.Framer
	stream uint32
}

func (w *world) inside2() *h2Conn {
	c, err := net.Dial("tcp", w.proxyAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(&eager{Conn: c, first: "CONNECT " + apiHost + ":443 HTTP/1.1\r\n\r\n"},
		&tls.Config{RootCAs: w.roots, ServerName: apiHost, NextProtos: []string{"h2"}})
	_, _ = io.WriteString(tc, http2.ClientPreface)
	f := http2.NewFramer(tc, tc)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = f.WriteSettings()
	return &h2Conn{t: w.t.(*testing.T), framer: f, stream: 1}
}

// roundTrip sends one request and returns the status of its answer, or "reset".
func (c *h2Conn) roundTrip(fields []string) string {
	c.t.Helper()
	var block strings.Builder
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	frag := []byte(block.String())
	first := frag[:min(len(frag), 16<<10)]
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: first, EndStream: true, EndHeaders: len(first) == len(frag)})
	for rest := frag[len(first):]; len(rest) > 0; {
		n := min(len(rest), 16<<10)
		_ = c.framer.WriteContinuation(c.stream, n == len(rest), rest[:n])
		rest = rest[n:]
	}
	id := c.stream
	c.stream += 2
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			c.t.Fatalf("%.80q: %v", fields, err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id {
				return f.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset"
			}
		}
	}
}
