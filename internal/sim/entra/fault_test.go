package entra_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
)

func TestFaultsSpoilTheCallsTheyAreMeantFor(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	begins := func() (reply, error) {
		return w.try(t, "POST", w.url+"/StrongAuthenticationService.svc/Connector/BeginTwoWayAuthentication", []byte(begin(kim, "", false)),
			"Authorization", "Bearer "+token, "Content-Type", "application/xml")
	}
	for name, c := range map[string]struct {
		fault  entra.Fault
		status int // 0: no whole answer
		in     string
	}{
		"throttled":   {entra.Fault{Kind: entra.Throttled, RetryAfter: 7 * time.Second}, 429, ""},
		"error":       {entra.Fault{Kind: entra.ServerError}, 500, "Request Error"},
		"unavailable": {entra.Fault{Kind: entra.Unavailable}, 503, ""},
		"gateway":     {entra.Fault{Kind: entra.BadGateway}, 502, "<!doctype html>"},
		"page":        {entra.Fault{Kind: entra.HTMLPage}, 200, "<!doctype html>"},
		"empty":       {entra.Fault{Kind: entra.Empty}, 200, ""},
		"cut":         {entra.Fault{Kind: entra.Cut}, 200, "<BeginTwoWay"},
		"raw":         {entra.Fault{Kind: entra.Raw, Status: 418, Body: "x"}, 418, "x"},
		"redirect":    {entra.Fault{Kind: entra.Redirect, Body: "https://evil.example/"}, 307, ""},
		"rewritten":   {entra.Fault{Kind: entra.Rewritten, Rewrite: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("Success"), []byte("Surprise")) }}, 200, "Surprise"},
		"truncated":   {entra.Fault{Kind: entra.Truncated}, 0, ""},
		"reset":       {entra.Fault{Kind: entra.Reset}, 0, ""},
	} {
		w.ClearFaults()
		c.fault.Host, c.fault.Path, c.fault.Who, c.fault.Times = entra.Connector, "/beginTwoWayAuthentication", kim, 1
		w.Inject(c.fault)
		r, err := begins()
		if c.status == 0 {
			if err == nil {
				t.Errorf("%s: a whole answer: %d %s", name, r.status, r.body)
			}
		} else if err != nil || r.status != c.status || !strings.Contains(string(r.body), c.in) {
			t.Errorf("%s: %v %d %s", name, err, r.status, r.body)
		}
		if name == "throttled" && r.header.Get("Retry-After") != "7" {
			t.Errorf("Retry-After = %q", r.header.Get("Retry-After"))
		}
		if r, err := begins(); err != nil || r.status != 200 {
			t.Errorf("after %s: %v %d", name, err, r.status)
		}
	}
}

func TestAFaultHidesAnAnswerThatTookEffect(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	w.Inject(entra.Fault{Host: entra.Connector, Kind: entra.ServerError, Times: 1})
	w.Inject(entra.Fault{Host: entra.Connector, Kind: entra.ServerError, Times: 1, Sent: true})
	w.post(t, token, "BeginTwoWayAuthentication", begin(kim, "", false))
	if n := len(w.Pushes()); n != 0 {
		t.Errorf("%d pushes from a call that failed", n)
	}
	w.post(t, token, "BeginTwoWayAuthentication", begin(kim, "", false))
	if n := len(w.Pushes()); n != 1 {
		t.Errorf("%d pushes from a call whose answer was lost, want 1", n)
	}
	if got := w.Received(entra.Connector, "/BeginTwoWayAuthentication"); len(got) != 2 {
		t.Errorf("%d requests recorded, want 2", len(got))
	}
}

func TestAHugeAnswerEndsWhenTheCallerLeaves(t *testing.T) {
	w := start(t, entra.Options{})
	token := w.connectorToken(t)
	w.Inject(entra.Fault{Host: entra.Connector, Kind: entra.Huge})
	r, err := w.try(t, "POST", w.url+"/StrongAuthenticationService.svc/Connector/BeginTwoWayAuthentication", []byte(begin(kim, "", false)),
		"Authorization", "Bearer "+token, "Content-Type", "application/xml")
	if err != nil || len(r.body) != 4<<20 { // the test's own bound
		t.Errorf("%v, %d octets", err, len(r.body))
	}
}

// pipe serves a handler on one in-memory connection.
type pipe struct {
	net.Conn
	reader *bufio.Reader
}

func connect(t *testing.T, h http.Handler) *pipe {
	client, server := net.Pipe()
	ln := &single{conn: make(chan net.Conn, 1), done: make(chan struct{})}
	ln.conn <- server
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = client.Close(); _ = srv.Close(); <-served })
	return &pipe{client, bufio.NewReader(client)}
}

func (p *pipe) do(t *testing.T, req *http.Request) *http.Response {
	t.Helper()
	if err := req.Write(p); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(p.reader, req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp
}

type single struct {
	conn chan net.Conn
	done chan struct{}
}

func (l *single) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *single) Close() error   { close(l.done); return nil }
func (l *single) Addr() net.Addr { return &net.TCPAddr{} }

func TestItsTimersAreThoseOfTheTestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := entra.New(entra.Options{})
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Mint(entra.AccessToken{ClientID: entra.MFAClientID, Audience: entra.ConnectorResource})
		if err != nil {
			t.Fatal(err)
		}
		p := connect(t, s.Connector())
		ask := func(ctx context.Context) *http.Request {
			req, err := http.NewRequestWithContext(ctx, "POST", "http://adnotifications.windowsazure.com/StrongAuthenticationService.svc/Connector/BeginTwoWayAuthentication",
				strings.NewReader(begin(kim, "", true)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "text/xml")
			return req
		}
		from := time.Now()
		resp := p.do(t, ask(t.Context()))
		b, _ := io.ReadAll(resp.Body)
		if took := time.Since(from); took != time.Minute || !strings.Contains(string(b), "PhoneAppNoResponse") {
			t.Errorf("after %v: %s", took, b)
		}
		s.Inject(entra.Fault{Kind: entra.Delayed, Delay: time.Minute})
		if err := s.Script(kim, entra.Approves()); err != nil {
			t.Fatal(err)
		}
		from = time.Now()
		b, _ = io.ReadAll(p.do(t, ask(t.Context())).Body)
		if took := time.Since(from); took != time.Minute+time.Second || !strings.Contains(string(b), ">true<") {
			t.Errorf("after %v: %s", took, b)
		}
	})
}
