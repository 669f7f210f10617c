package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"countersign/internal/operation"
	"countersign/internal/refusal"
	"countersign/proxy/intercept"
)

// tunnel is what a CONNECT established for the requests inside it.
type tunnel struct {
	host   string
	sni    string      // canonical; "" when the client sent none
	peer   string      // address of the caller
	header http.Header // of the CONNECT: credentials in it are judged at each request
}

// serveProxy serves the explicit proxy's own requests: CONNECT, and what has no business here.
func (s *Server) serveProxy(w http.ResponseWriter, r *http.Request) {
	ex := s.begin(listenerProxy, r.RemoteAddr)
	defer ex.finish(r.Context())
	ex.serve(w, r, func(ctx context.Context) error {
		if r.Method != http.MethodConnect {
			return plainRefusal(r)
		}
		return s.connect(ctx, ex, w, r)
	})
}

// plainRefusal says why a request that is no CONNECT is refused here: plain http:// is read by everybody on the way, and admin
// APIs do not speak it.
func plainRefusal(r *http.Request) *refusal.Error {
	if strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == "*" {
		return malformed("this is a proxy: the target has to name a host")
	}
	return &refusal.Error{Code: refusal.DestinationDenied, Detail: "only https:// is let through, by CONNECT"}
}

func (s *Server) connect(ctx context.Context, ex *exchange, w http.ResponseWriter, r *http.Request) error {
	host, port, err := operation.Authority(r.RequestURI, "https")
	if err != nil || !strings.Contains(r.RequestURI[strings.LastIndex(r.RequestURI, "]")+1:], ":") {
		return malformed("the target of a CONNECT is a host and a port")
	}
	ex.host = host
	switch verdict := s.admit.Admit(host); {
	case verdict == Intercepted && port == "":
		return s.intercept(ctx, ex, w, r)
	case verdict == Intercepted:
		return &refusal.Error{Code: refusal.DestinationDenied, Detail: "the host is reached on port 443 only"}
	case verdict == Tunnelled:
		return s.tunnel(ctx, ex, w, port)
	default:
		return &refusal.Error{Code: refusal.DestinationDenied}
	}
}

// intercept ends TLS and hands the connection to the server of what comes out of tunnels. The exchanges inside are recorded
// each; the CONNECT itself is only when it comes to nothing.
func (s *Server) intercept(ctx context.Context, ex *exchange, w http.ResponseWriter, r *http.Request) error {
	t := &tunnel{host: ex.host, peer: r.RemoteAddr, header: r.Header.Clone()}
	ctx, conn, err := s.hijack(ctx, w)
	if err != nil {
		return ex.lost(err)
	}
	defer conn.release()
	tc, err := s.o.Interceptor.Handshake(ctx, conn.Conn, t.host)
	if err != nil {
		code := refusal.Code("")
		switch {
		case errors.Is(err, intercept.ErrSNI):
			code = refusal.AuthorityMismatch
		case errors.Is(err, intercept.ErrNotAdmitted):
			code = refusal.DestinationDenied
		}
		ex.end(code, 0, "TLS handshake failed")
		s.o.Logger.Debug("handshake failed", "exchange", ex.id, "host", t.host, "error", err)
		return nil
	}
	if sni := tc.ConnectionState().ServerName; sni != "" {
		host, port, err := operation.Authority(sni, "https")
		if err != nil || host != t.host || port != "" {
			ex.end(refusal.AuthorityMismatch, 0, "server name differs")
			return nil //nolint:nilerr // the exchange is ended; there is no HTTP to answer in
		}
		t.sni = host
	}
	s.handOver(conn.raw)
	if !s.enter(tc, t) {
		ex.end(refusal.Draining, 0, "stopping")
		return nil
	}
	ex.quiet, conn.kept = true, true
	return nil
}

// hijacked is a connection taken over from net/http. Shutdown closes it, and waits for release.
type hijacked struct {
	net.Conn // what was read ahead comes first
	s        *Server
	raw      net.Conn
	cancel   context.CancelFunc
	kept     bool // somebody else closes it
}

func (h *hijacked) release() {
	h.cancel()
	if !h.kept {
		_ = h.raw.Close() // whatever was to be said has been
	}
	h.s.untrack(h.raw)
}

// hijack takes the connection over and answers the CONNECT. The context it returns ends with Shutdown.
func (s *Server) hijack(ctx context.Context, w http.ResponseWriter) (context.Context, *hijacked, error) {
	raw, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &hijacked{Conn: raw, s: s, raw: raw, cancel: cancel}
	if n := buffered.Reader.Buffered(); n > 0 {
		ahead, _ := buffered.Peek(n) // it is there
		h.Conn = &aheadConn{Conn: raw, ahead: ahead}
	}
	if !s.track(raw, cancel) {
		cancel()
		_ = raw.Close() // stopping: the CONNECT comes to nothing
		return nil, nil, draining()
	}
	err = raw.SetDeadline(time.Time{})
	if err == nil {
		_, err = io.WriteString(raw, "HTTP/1.1 200 Connection Established\r\n\r\n")
	}
	if err != nil {
		h.release()
		return nil, nil, err
	}
	return ctx, h, nil
}

// aheadConn gives back what was read ahead before it reads on.
type aheadConn struct {
	net.Conn
	ahead []byte
}

// Read reads what was read ahead, then from the connection.
func (c *aheadConn) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
