package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// Names of the listeners, as the journal has them.
const (
	listenerProxy   = "proxy"
	listenerReverse = "reverse"
)

// connKey carries what is known of a request's connection.
type connKey struct{}

type connInfo struct {
	wire   *wireConn // nil for HTTP/2
	tunnel *tunnel   // nil outside one
}

func infoOf(ctx context.Context) *connInfo {
	if info, ok := ctx.Value(connKey{}).(*connInfo); ok {
		return info
	}
	return &connInfo{}
}

// strictListener makes every connection a wireConn.
type strictListener struct {
	net.Listener
	s    *Server
	name string
}

// Accept waits for a connection.
func (l *strictListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.s.strict(c, l.name), nil
}

func (s *Server) strict(c net.Conn, listener string) *wireConn {
	return &wireConn{Conn: c, listener: listener, maxHead: s.o.MaxHeader, rejected: s.rejected}
}

// connState follows a connection through its requests, so that wireConn can tell whose answer is written.
func connState(c net.Conn, state http.ConnState) {
	w, ok := c.(interface{ wire() *wireConn })
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		w.wire().serving.Store(false)
	case http.StateHijacked:
		w.wire().raw.Store(true)
	case http.StateNew, http.StateActive, http.StateClosed:
	}
}

// feed is a listener that is given its connections: those that come out of intercepted tunnels.
type feed struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	known sync.Map // net.Conn → *connInfo, until the server asks
}

func newFeed() *feed { return &feed{conns: make(chan net.Conn), done: make(chan struct{})} }

// put hands a connection to the server, or reports that it has ended.
func (f *feed) put(c net.Conn, info *connInfo) bool {
	f.known.Store(c, info)
	select {
	case f.conns <- c:
		return true
	case <-f.done:
		f.known.Delete(c)
		return false
	}
}

// Accept waits for a connection.
func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and put.
func (f *feed) Close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// Addr says where the connections come from.
func (f *feed) Addr() net.Addr { return feedAddr{} }

type feedAddr struct{}

func (feedAddr) Network() string { return "tunnel" }
func (feedAddr) String() string  { return "tunnel" }

// innerContext gives the requests of a tunnel's connection what is known of it.
func (s *Server) innerContext(ctx context.Context, c net.Conn) context.Context {
	if info, ok := s.feed.known.LoadAndDelete(c); ok {
		return context.WithValue(ctx, connKey{}, info)
	}
	return ctx // without a tunnel every request is refused
}

// enter puts an intercepted connection into the server for what comes out of tunnels. HTTP/2 needs the *tls.Conn itself;
// HTTP/1.1 is read strictly.
func (s *Server) enter(c *tls.Conn, t *tunnel) bool {
	if c.ConnectionState().NegotiatedProtocol == "h2" {
		return s.feed.put(c, &connInfo{tunnel: t})
	}
	w := s.strict(c, listenerProxy)
	return s.feed.put(tlsWire{wireConn: w, tls: c}, &connInfo{wire: w, tunnel: t})
}
