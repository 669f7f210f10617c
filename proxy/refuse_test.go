package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/policy"
	"countersign/proxy"
)

// smuggled are requests that two servers could read differently, and what is no HTTP at all. %s is Host.
var smuggled = map[string]string{
	"two Hosts":                 "GET / HTTP/1.1\r\nHost: %[1]s\r\nHost: %[1]s\r\n\r\n",
	"no Host":                   "GET / HTTP/1.1\r\nX: %s\r\n\r\n",
	"TE and CL":                 "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"CL twice":                  "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"CL list":                   "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 2, 2\r\n\r\n{}",
	"CL signed":                 "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: +2\r\n\r\n{}",
	"CL huge":                   "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
	"CL empty":                  "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length:\r\n\r\n",
	"TE unknown":                "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"TE obscured":               "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"TE twice":                  "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"TE in HTTP/1.0":            "POST / HTTP/1.0\r\nHost: %s\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"folded line":               "GET / HTTP/1.1\r\nHost: %s\r\nX: a\r\n b\r\n\r\n",
	"folded first line":         "GET / HTTP/1.1\r\n Host: %s\r\n\r\n",
	"bare LF":                   "GET / HTTP/1.1\nHost: %s\n\n",
	"one bare LF":               "GET / HTTP/1.1\r\nHost: %s\nX: 1\r\n\r\n",
	"bare CR":                   "GET / HTTP/1.1\r\nHost: %s\r\nX: a\rY: b\r\n\r\n",
	"NUL":                       "GET / HTTP/1.1\r\nHost: %s\r\nX: a\x00b\r\n\r\n",
	"space before colon":        "GET / HTTP/1.1\r\nHost: %s\r\nContent-Length : 2\r\n\r\n",
	"no name":                   "GET / HTTP/1.1\r\nHost: %s\r\n: 2\r\n\r\n",
	"no colon":                  "GET / HTTP/1.1\r\nHost: %s\r\nXY\r\n\r\n",
	"header too large":          "GET / HTTP/1.1\r\nHost: %s\r\nX: " + strings.Repeat("x", 17<<10) + "\r\n\r\n",
	"endless header":            "GET / HTTP/1.1\r\nHost: %s\r\nX: " + strings.Repeat("x", 40<<10),
	"HTTP/2.0":                  "GET / HTTP/2.0\r\nHost: %s\r\n\r\n",
	"HTTP/2 preface":            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n%.0s",
	"HTTP/0.9":                  "GET /\r\n\r\n%.0s",
	"two spaces":                "GET  / HTTP/1.1\r\nHost: %s\r\n\r\n",
	"no target":                 "GET HTTP/1.1\r\nHost: %s\r\n\r\n",
	"method with a slash":       "GE/T / HTTP/1.1\r\nHost: %s\r\n\r\n",
	"TLS on a plain port":       "\x16\x03\x01\x02\x00\x01%.0s",
	"target net/url refuses":    "GET /%%zz HTTP/1.1\r\nHost: %s\r\n\r\n",
	"Host with a space":         "GET / HTTP/1.1\r\nHost: a b%s\r\n\r\n",
	"unknown expectation":       "POST / HTTP/1.1\r\nHost: %s\r\nExpect: payment\r\nContent-Length: 2\r\n\r\n{}",
	"underscore twin of ours":   "GET / HTTP/1.1\r\nHost: %s\r\nCountersign_Requester: mallory\r\n\r\n",
	"underscore twin of length": "GET / HTTP/1.1\r\nHost: %s\r\nContent_Length: 2\r\n\r\n",
	"bad chunk":                 "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
	"chunk longer than said":    "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
	"chunk with an extension":   "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\n\r\n",
	"chunk, last, extended":     "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0;x=y\r\n\r\n",
	"chunk with bare LF":        "POST / HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
	"asterisk":                  "OPTIONS * HTTP/1.1\r\nHost: %s\r\n\r\n",
	"TRACE":                     "TRACE / HTTP/1.1\r\nHost: %s\r\n\r\n",
}

func TestMalformedRequestsAreRefusedAndRecorded(t *testing.T) {
	for name, octets := range smuggled {
		w := newWorld(t, nil)
		tail := "GET /second HTTP/1.1\r\nHost: " + apiHost + "\r\n\r\n" // what a smuggled request would be
		if strings.HasPrefix(name, "endless") {
			tail = ""
		}
		a := w.exchange(w.inside(apiHost), fmt.Sprintf(octets, apiHost)+tail)
		w.wantMalformed(t, name+" in a tunnel", a, 1)

		reverse := strings.Replace(octets, " /", " /"+apiHost+"/", 1)
		a = w.raw(w.revAddr, fmt.Sprintf(reverse, w.revAddr)+tail)
		w.wantMalformed(t, name+" on the reverse listener", a, 2)

		if name == "TRACE" || strings.HasPrefix(name, "bad chunk") || strings.HasPrefix(name, "chunk") || strings.Contains(name, "underscore") {
			continue // refused for being plain, before that
		}
		a = w.raw(w.proxyAddr, fmt.Sprintf(strings.Replace(octets, " / ", " http://"+apiHost+"/ ", 1), apiHost)+tail)
		w.wantMalformed(t, name+" to the proxy", a, 3)
	}
}

func (w *world) wantMalformed(t *testing.T, name string, a answer, n int) {
	t.Helper()
	if a.StatusCode != 400 || a.code() != "malformed_request" || !a.Close {
		t.Errorf("%s: answer = %d %q, close %v; %s", name, a.StatusCode, a.code(), a.Close, a.body)
	}
	done := w.journal.of(t, audit.Completed, n)
	decided := w.journal.of(t, audit.Decision, n)
	if e := done[n-1]; e.Code != "malformed_request" || e.Status != 400 || e.Peer == "" || e.Exchange != decided[n-1].Exchange {
		t.Errorf("%s: completed = %+v", name, e)
	}
	if e := decided[n-1]; e.Effect != "deny" || e.Code != "malformed_request" || !w.journal.isDurable(audit.Decision) {
		t.Errorf("%s: decision = %+v", name, e)
	}
	if got := w.arrived(); len(got) != 0 {
		t.Errorf("%s: %d requests arrived", name, len(got))
	}
}

func TestWhatIsNoOrdinaryCallIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	host := "Host: " + apiHost + "\r\n"
	for name, c := range map[string]struct {
		octets string
		status int
		code   string
	}{
		"WebSocket":         {"GET / HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 403, "upgrade_not_supported"},
		"CONNECT inside":    {"CONNECT other.example:443 HTTP/1.1\r\n\r\n", 403, "authority_mismatch"},
		"absolute form":     {"GET https://" + apiHost + "/ HTTP/1.1\r\n" + host + "\r\n", 403, "authority_mismatch"},
		"absolute, other":   {"GET https://other.example/ HTTP/1.1\r\n" + host + "\r\n", 403, "authority_mismatch"},
		"other Host":        {"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 403, "authority_mismatch"},
		"odd port":          {"GET / HTTP/1.1\r\nHost: " + apiHost + ":8443\r\n\r\n", 403, "authority_mismatch"},
		"no Host":           {"GET / HTTP/1.0\r\n\r\n", 403, "authority_mismatch"},
		"user info":         {"GET / HTTP/1.1\r\nHost: x@" + apiHost + "\r\n\r\n", 400, "malformed_request"},
		"loop":              {"GET / HTTP/1.1\r\n" + host + "Via: 1.1 other, 2 Countersign-Test (x)\r\n\r\n", 508, "loop_detected"},
		"double slash":      {"GET //" + apiHost + "/ HTTP/1.1\r\n" + host + "\r\n", 400, "malformed_request"},
		"fragment":          {"GET /a#b HTTP/1.1\r\n" + host + "\r\n", 400, "malformed_request"},
		"not ASCII":         {"GET /\xc3\xa4 HTTP/1.1\r\n" + host + "\r\n", 400, "malformed_request"},
		"too large":         {"POST / HTTP/1.1\r\n" + host + "Content-Length: 1048577\r\n\r\n", 403, "body_too_large"},
		"too large, unsaid": {"POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n100001\r\n" + strings.Repeat("x", 1<<20+1) + "\r\n0\r\n\r\n", 403, "body_too_large"},
		"ambiguous":         {"GET / HTTP/1.1\r\n" + host + "Content-Length: 9\r\n\r\nambiguous", 403, "uninspectable"},
		"trailer":           {"GET / HTTP/1.1\r\n" + host + "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: 1\r\n\r\n", 403, "uninspectable"},
		"unannounced":       {"GET / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: 1\r\n\r\n", 403, "uninspectable"},
		"denied":            {"DELETE / HTTP/1.1\r\n" + host + "\r\n", 403, "policy_denied"},
		"canonical, dotted": {"GET / HTTP/1.1\r\nHost: EXAMPLE.com.:443\r\n\r\n", 200, ""},
	} {
		n := len(w.arrived())
		a := w.exchange(w.inside(apiHost), c.octets)
		if a.StatusCode != c.status || a.code() != c.code {
			t.Errorf("%s: answer = %d %q, want %d %q", name, a.StatusCode, a.code(), c.status, c.code)
		}
		if got := len(w.arrived()) - n; got != map[bool]int{true: 1}[c.status == 200] {
			t.Errorf("%s: %d requests arrived", name, got)
		}
	}
}

func TestAnAllowedPathGoesOnOctetForOctet(t *testing.T) {
	w := newWorld(t, nil)
	for _, target := range []string{"/v1.0/me/../users/bob", "/v1.0//users/./bob", "/v1.0/users/bob%40contoso.com?$select=id&x=%2F"} {
		w.want(w.exchange(w.inside(apiHost), "GET "+target+" HTTP/1.1\r\nHost: "+apiHost+"\r\n\r\n"), 200, "")
		all := w.arrived()
		if got := all[len(all)-1].RequestURI; got != target {
			t.Errorf("%s arrived as %s", target, got)
		}
	}
}

func TestTheJournalSaysWhatAnUnreadableRequestLooksLike(t *testing.T) {
	for body, want := range map[string]string{"ambiguous password": "user.password.reset", "ambiguous": ""} {
		w := newWorld(t, nil)
		w.want(w.do(w.agent(false, nil), "PATCH", "https://"+apiHost+"/v1.0/users/bob", body, alice()), 403, "uninspectable")
		e := w.journal.of(t, audit.Decision, 1)[0]
		got := ""
		for _, op := range e.Operations {
			got += op.Name
		}
		if got != want || e.Effect != "deny" || e.Code != "uninspectable" {
			t.Errorf("%s: operations %q, effect %s, code %s, want %q denied", body, got, e.Effect, e.Code, want)
		}
	}
}

func TestEveryRequestOfAConnectionIsBoundAgain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.inside(apiHost)
	w.want(w.exchange(c, "GET / HTTP/1.1\r\nHost: "+apiHost+"\r\n\r\n"), 200, "")
	w.want(w.exchange(c, "POST / HTTP/1.1\r\nHost: "+apiHost+"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 403, "requester_unknown")
	w.want(w.exchange(c, "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n"), 403, "authority_mismatch")
	w.want(w.exchange(c, "GET / HTTP/1.1\r\nHost: "+apiHost+"\r\n\r\n"), 200, "")
	w.want(w.exchange(c, "GET / HTTP/1.1\r\nHost: "+apiHost+"\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"), 400, "malformed_request")
	if got := len(w.arrived()); got != 2 {
		t.Errorf("%d requests arrived, want 2", got)
	}
}

func TestAPipelinedRequestIsJudgedInItsTurn(t *testing.T) {
	w := newWorld(t, nil)
	c := w.inside(apiHost)
	host := "Host: " + apiHost + "\r\n"
	_, _ = io.WriteString(c, "GET /1 HTTP/1.1\r\n"+host+"Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\n"+host+"\r\nDELETE /3 HTTP/1.1\r\n"+host+"\r\nGET /4 HTTP/1.1\r\n"+host+"X: a\r\n b\r\n\r\n")
	rd := bufio.NewReader(c)
	for i, want := range []int{200, 200, 403, 400} {
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("answer %d = %d, want %d", i+1, resp.StatusCode, want)
		}
	}
}

func TestConnectIsRefusedUnlessItsHostIsAdmitted(t *testing.T) {
	w := newWorld(t, nil)
	for target, c := range map[string]struct {
		header string
		status int
		code   string
	}{
		"other.example:443":          {"", 403, "destination_not_allowed"},
		apiHost + ":8443":            {"", 403, "destination_not_allowed"},
		apiHost + ":80":              {"", 403, "destination_not_allowed"},
		"sub." + apiHost + ":443":    {"", 403, "destination_not_allowed"},
		apiHost:                      {"", 400, "malformed_request"},
		"127.0.0.1:443":              {"", 403, "destination_not_allowed"},
		"[::1]:443":                  {"", 403, "destination_not_allowed"},
		"x@" + apiHost + ":443":      {"", 400, "malformed_request"},
		"EXAMPLE.com.:443":           {"Host: other.example:443\r\n", 403, "authority_mismatch"},
		apiHost + ":443":             {"Host: " + apiHost + ":8443\r\n", 403, "authority_mismatch"},
		"http://" + apiHost + ":443": {"", 400, "malformed_request"},
	} {
		a := w.raw(w.proxyAddr, "CONNECT "+target+" HTTP/1.1\r\n"+c.header+"\r\n")
		if a.StatusCode != c.status || a.code() != c.code || !a.Close {
			t.Errorf("CONNECT %s = %d %q, want %d %q", target, a.StatusCode, a.code(), c.status, c.code)
		}
	}
	loop := w.raw(w.proxyAddr, "CONNECT "+apiHost+":443 HTTP/1.1\r\nVia: 1.1 countersign-test\r\n\r\n")
	w.want(loop, 508, "loop_detected")
	if !loop.Close {
		t.Error("a refused CONNECT leaves its connection open")
	}
	w.want(w.raw(w.proxyAddr, "CONNECT "+apiHost+":443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), 400, "malformed_request")
	w.want(w.raw(w.proxyAddr, "GET http://"+apiHost+"/ HTTP/1.1\r\nHost: "+apiHost+"\r\n\r\n"), 403, "destination_not_allowed")
	w.want(w.raw(w.proxyAddr, "GET / HTTP/1.1\r\nHost: "+w.proxyAddr+"\r\n\r\n"), 400, "malformed_request")
	w.journal.of(t, audit.Completed, 15)
}

func TestConnectNeedsNoHostAndTakesPipelinedTLS(t *testing.T) {
	w := newWorld(t, nil)
	for _, head := range []string{
		"CONNECT " + apiHost + ":443 HTTP/1.0\r\n\r\n", "CONNECT Example.COM:443 HTTP/1.1\r\n\r\n",
		"CONNECT " + apiHost + ":443 HTTP/1.1\r\nHost: " + apiHost + "\r\n\r\n",
	} {
		c, err := net.Dial("tcp", w.proxyAddr)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		tc := tls.Client(&eager{Conn: c, first: head}, &tls.Config{RootCAs: w.roots, ServerName: apiHost})
		a := w.exchange(tc, "GET / HTTP/1.1\r\nHost: "+apiHost+"\r\nConnection: close\r\n\r\n")
		w.want(a, 200, "")
		_ = c.Close()
	}
}

// eager sends its first octets in one packet with what follows, and skips the answer to a CONNECT.
type eager struct {
	net.Conn
	first string
	rd    *bufio.Reader
}

func (c *eager) Write(p []byte) (int, error) {
	if c.first != "" {
		q := append([]byte(c.first), p...)
		c.first = ""
		_, err := c.Conn.Write(q)
		return len(p), err
	}
	return c.Conn.Write(p)
}

func (c *eager) Read(p []byte) (int, error) {
	if c.rd == nil {
		c.rd = bufio.NewReader(c.Conn)
		for range 2 {
			if _, err := c.rd.ReadString('\n'); err != nil {
				return 0, err
			}
		}
	}
	return c.rd.Read(p)
}

func TestPanicsRefuse(t *testing.T) {
	w := newWorld(t, nil)
	w.policy.set(func(int, policy.Input) (policy.Decision, error) { panic("secret") })
	a := w.do(w.agent(true, nil), "GET", "https://"+apiHost+"/", "", nil)
	w.want(a, 500, "internal_error")
	if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != "internal_error" || strings.Contains(a.body, "secret") {
		t.Errorf("completed = %+v, body %s", e, a.body)
	}
}

func TestABodyThatBreaksOffIsRefusedAndRecorded(t *testing.T) {
	w := newWorld(t, nil)
	c := w.inside(apiHost)
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+apiHost+"\r\nContent-Length: 100\r\n\r\nabc")
	_ = c.Close()
	if e := w.journal.of(t, audit.Completed, 1)[0]; e.Code != "malformed_request" || len(w.arrived()) != 0 {
		t.Errorf("completed = %+v", e)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	full := proxy.Options{
		Parser: parser{}, Decider: &script{}, Holder: newDesk(&steps{}), Recorder: &journal{}, Identifier: identifier{},
		Interceptor: interceptor{}, Upstream: unreachable{}, Name: "x",
	}
	if _, err := proxy.New(full); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]setup{
		"no decider":  func(o *proxy.Options) { o.Decider = nil },
		"no recorder": func(o *proxy.Options) { o.Recorder = nil },
		"no name":     func(o *proxy.Options) { o.Name = "" },
		"negative":    func(o *proxy.Options) { o.MaxWait = -1 },
		"overlap":     func(o *proxy.Options) { o.Intercept, o.Tunnel = []string{"a.b"}, []string{"*.b"} },
	} {
		o := full
		change(&o)
		if _, err := proxy.New(o); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}
