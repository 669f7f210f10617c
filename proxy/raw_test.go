package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
)

// smuggle is what follows a refused request on its connection: what another server could take for a request of its own.
const smuggle = "DELETE /smuggled HTTP/1.1\r\nHost: " + apiHost + "\r\n\r\n"

// rawRoutes open a connection on which octets reach the API's host, and say how a request on it begins.
func (w *world) rawRoutes() map[string]rawRoute {
	return map[string]rawRoute{
		"in a tunnel": {func() net.Conn { return w.inside(apiHost) }, "/", apiHost},
		"on the reverse listener": {func() net.Conn {
			c, err := net.Dial("tcp", w.revAddr)
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { _ = c.Close() })
			return c
		}, "/" + apiHost + "/", w.revAddr},
	}
}

type rawRoute struct {
	open         func() net.Conn
	prefix, host string
}

func (r rawRoute) head(method, path string) string {
	return method + " " + r.prefix + path + " HTTP/1.1\r\nHost: " + r.host + "\r\n"
}

// wantRefused checks the answer to a raw request, that its record says why, and that nothing was sent on.
func (w *world) wantRefused(name string, a answer, status int, code, why string) {
	w.t.Helper()
	if a.StatusCode != status || a.code() != code || !strings.Contains(a.body, why) || status == 400 && !a.Close {
		w.t.Errorf("%s: answer = %d %q, close %v, want %d %q, %q; %s", name, a.StatusCode, a.code(), a.Close, status, code, why, a.body)
	}
	done := w.journal.of(w.t, audit.Completed, 1)
	decided := w.journal.of(w.t, audit.Decision, 1)
	if e := done[0]; e.Code != code || e.Status != status || status == 400 && !strings.Contains(e.Detail, why) {
		w.t.Errorf("%s: completed = %+v, want %s because %s", name, e, code, why)
	}
	if e := decided[0]; e.Effect != "deny" || e.Code != code {
		w.t.Errorf("%s: decision = %+v", name, e)
	}
	if got := w.arrived(); len(got) != 0 {
		w.t.Errorf("%s: %d requests arrived", name, len(got))
	}
}

// extended are chunked bodies with something beside the size of a chunk.
var extended = map[string]string{
	"an extension":                     "3;ext=1\r\nabc\r\n0\r\n\r\n",
	"a name alone":                     "3;ext\r\nabc\r\n0\r\n\r\n",
	"a quoted value":                   "3;ext=\"a;b\"\r\nabc\r\n0\r\n\r\n",
	"a semicolon alone":                "3;\r\nabc\r\n0\r\n\r\n",
	"white space before the semicolon": "3 \t;ext=1\r\nabc\r\n0\r\n\r\n",
	"white space alone":                "3 \r\nabc\r\n0\r\n\r\n",
	"an extension of a later chunk":    "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
	"an extension of the last chunk":   "3\r\nabc\r\n0;ext=1\r\n\r\n",
	"an extension of the only chunk":   "0;ext=1\r\n\r\n",
	"a signature like aws-chunked's":   "3;chunk-signature=" + strings.Repeat("a", 64) + "\r\nabc\r\n0;chunk-signature=b\r\n\r\n",
}

func TestChunkExtensionsAreRefused(t *testing.T) {
	for name, body := range extended {
		for where := range (&world{}).rawRoutes() {
			for _, method := range []string{"GET", "POST"} { // one that would pass, one that would be held
				w := newWorld(t, nil)
				r := w.rawRoutes()[where]
				a := w.exchange(r.open(), r.head(method, "x")+"Transfer-Encoding: chunked\r\n\r\n"+body+smuggle)
				w.wantRefused(method+" with "+name+" "+where, a, 400, "malformed_request", "a chunk of the body has an extension")
			}
		}
	}
}

func TestAChunkExtensionInSeveralWritesIsRefused(t *testing.T) {
	for name, body := range extended {
		at := max(strings.IndexAny(body, "; "), 0)
		body = body[:at+strings.Index(body[at:], "\n")+1] // up to the end of its line: what comes after is not read
		for where := range (&world{}).rawRoutes() {
			w := newWorld(t, nil)
			r := w.rawRoutes()[where]
			c := r.open()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			octets := r.head("GET", "x") + "Transfer-Encoding: chunked\r\n\r\n" + body
			for i := range len(octets) - 1 {
				if _, err := io.WriteString(c, octets[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
			w.wantRefused(name+" "+where, w.exchange(c, octets[len(octets)-1:]), 400, "malformed_request", "a chunk of the body has an extension")
		}
	}
}

func TestLinesOfAChunkedBodyHaveALimit(t *testing.T) {
	for name, c := range map[string]struct{ body, why string }{
		"an endless size":      {strings.Repeat("0", 5<<10), "longer than the limit"},
		"an endless extension": {"3;" + strings.Repeat("x", 5<<10), "longer than the limit"},
		"a long extension":     {"3;" + strings.Repeat("x", 8<<10) + "\r\nabc\r\n0\r\n\r\n", "longer than the limit"},
		"a long trailer field": {"0\r\nX: " + strings.Repeat("x", 8<<10) + "\r\n\r\n", ""},
		"many zeroes":          {strings.Repeat("0", 16) + "3\r\nabc\r\n0\r\n\r\n", "not well-formed"},
		"a huge size":          {"8000000000000000\r\nabc\r\n0\r\n\r\n", "not well-formed"},
	} {
		for where := range (&world{}).rawRoutes() {
			w := newWorld(t, nil)
			r := w.rawRoutes()[where]
			a := w.exchange(r.open(), r.head("GET", "x")+"Transfer-Encoding: chunked\r\n\r\n"+c.body)
			w.wantRefused(name+" "+where, a, 400, "malformed_request", c.why)
		}
	}
}

func TestAContentLengthBesideATransferEncodingIsRefused(t *testing.T) {
	for name, framing := range map[string]string{
		"CL.TE":         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE.CL":         "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"a length of 0": "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		for where := range (&world{}).rawRoutes() {
			w := newWorld(t, nil)
			r := w.rawRoutes()[where]
			a := w.exchange(r.open(), r.head("GET", "x")+framing+smuggle)
			w.wantRefused(name+" "+where, a, 400, "malformed_request", "the length of the body is given twice")
		}
	}
}

func TestATargetInAbsoluteFormIsRefused(t *testing.T) {
	for _, target := range []string{"https://" + apiHost + "/", "http://" + apiHost + "/", "https://other.example/", "HTTPS://" + apiHost + ":443/"} {
		for where := range (&world{}).rawRoutes() {
			w := newWorld(t, nil)
			r := w.rawRoutes()[where]
			a := w.exchange(r.open(), "GET "+target+" HTTP/1.1\r\nHost: "+r.host+"\r\n\r\n")
			w.wantRefused(target+" "+where, a, 403, "authority_mismatch", "")
		}
	}
}

func TestAHostThatDiffersFromTheServerNameIsRefused(t *testing.T) {
	for _, host := range []string{"other.example", "www." + apiHost, apiHost + ":8443", apiHost + ":80"} {
		w := newWorld(t, nil)
		a := w.exchange(w.inside(apiHost), "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		w.wantRefused("Host "+host, a, 403, "authority_mismatch", "")
	}
}

func TestAServerNameThatDiffersFromTheConnectIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.tunnel("CONNECT " + apiHost + ":443 HTTP/1.1\r\n\r\n")
	tc := tls.Client(c, &tls.Config{RootCAs: w.roots, ServerName: "other.example"})
	if err := tc.HandshakeContext(t.Context()); err == nil {
		t.Error("handshake succeeded")
	}
	if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != "authority_mismatch" || e.Host != apiHost || len(w.arrived()) != 0 {
		t.Errorf("completed = %+v", e)
	}
}

func TestAnHTTP2AuthorityThatDiffersIsRefused(t *testing.T) {
	for name, fields := range map[string][]string{
		"another authority":         {":method", "GET", ":scheme", "https", ":authority", "other.example", ":path", "/"},
		"another port":              {":method", "GET", ":scheme", "https", ":authority", apiHost + ":8443", ":path", "/"},
		"another host beside it":    {":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "/", "host", "other.example"},
		"a whole URL for a path":    {":method", "GET", ":scheme", "https", ":authority", apiHost, ":path", "https://" + apiHost + "/"},
		"a host in its place":       {":method", "GET", ":scheme", "https", ":path", "/", "host", "other.example"},
		"a CONNECT in the tunnel":   {":method", "CONNECT", ":authority", "other.example:443"},
		"user info before the host": {":method", "GET", ":scheme", "https", ":authority", "x@other.example", ":path", "/"},
	} {
		w := newWorld(t, nil)
		if got := w.inside2().roundTrip(fields); got != "403" && got != "400" && got != "reset" {
			t.Errorf("%s = %s", name, got)
		}
		if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != "authority_mismatch" && e.Code != "malformed_request" {
			t.Errorf("%s: completed = %+v", name, e)
		}
		if got := len(w.arrived()); got != 0 {
			t.Errorf("%s: %d requests arrived", name, got)
		}
	}
}
