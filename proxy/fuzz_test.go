package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/operation"
)

func FuzzReverseAuthority(f *testing.F) {
	for _, s := range []string{
		"/graph.microsoft.com/v1.0/users", "/graph.microsoft.com", "/graph.microsoft.com?x=/y", "//a/b", "/A/b", "/a./b", "/a:443/",
		"/%61.com/", "/xn--e1afmkfd.example/", "/127.0.0.1/", "/[::1]/", "/a@b/", "/a\\b/", "/", "", "/a.com//b", "/a.com/#x", "/münchen.example/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		d, refused := splitReverse(target)
		if refused != nil {
			if d != (destination{}) {
				t.Errorf("refused %q with %+v", target, d)
			}
			return
		}
		host, port, err := operation.Authority(d.host, "https")
		if err != nil || host != d.host || port != "" {
			t.Errorf("%q has host %q, which is not canonical: %q %q %v", target, d.host, host, port, err)
		}
		if !strings.HasPrefix(d.target, "/") {
			t.Errorf("%q has target %q", target, d.target)
		}
		// Nothing is lost, added or moved from one part to the other.
		if again := "/" + d.host + d.target; again != target && again != strings.Replace(target, d.host, d.host+"/", 1) {
			t.Errorf("%q became %q", target, again)
		}
	})
}

// FuzzWire checks that whatever the strict reader lets through, net/http reads as the same sequence of requests with the
// same bodies as it would by itself, and that both agree where each one ends.
func FuzzWire(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0;x=y\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
		"POST /x HTTP/1.0\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.0\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n00\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		c := &wireConn{Conn: &fixedConn{Reader: bytes.NewReader(octets)}, maxHead: 4 << 10}
		strict, err := io.ReadAll(c)
		if err == nil && c.bad.Load() == nil && !bytes.Equal(append(strict[:len(strict):len(strict)], c.buf...), octets) {
			t.Fatalf("%q became %q, and %q is left", octets, strict, c.buf)
		}
		if c.bad.Load() != nil {
			strict, _ = bytes.CutSuffix(strict, []byte(badRequest))
		}
		if !bytes.HasPrefix(octets, strict) {
			t.Fatalf("%q is no beginning of %q", strict, octets)
		}
		if c.bad.Load() == nil {
			return
		}
		// What net/http has been given ends where net/http, too, is through with a request.
		rd := bufio.NewReader(bytes.NewReader(strict))
		for {
			if _, err := rd.Peek(1); errors.Is(err, io.EOF) {
				return
			}
			r, err := http.ReadRequest(rd)
			if err != nil {
				return // refused by net/http itself
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
		}
	})
}

type fixedConn struct {
	net.Conn
	*bytes.Reader
}

func (c *fixedConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c *fixedConn) SetReadDeadline(time.Time) error { return nil }
