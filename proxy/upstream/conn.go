package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Conn is one fresh connection that carries one request. net/http's ClientConn has no retry of its own: a RoundTrip on it
// is one persistConn.roundTrip (HTTP/1.1) or one ClientConn.RoundTrip (HTTP/2), and what fails there comes back to us.
// The loops that replay a request are in Transport.roundTrip and in http2's RoundTripOpt, and neither is on this path.
type Conn struct {
	host      string
	cc        *http.ClientConn
	used      atomic.Bool
	closeOnce sync.Once
}

// Connect opens a fresh connection to host and finishes its TLS, so that after a redemption nothing but the request itself
// can still fail. The caller must Close it, or close the body of the response that its RoundTrip returns.
func (u *Upstream) Connect(ctx context.Context, host, port string) (*Conn, error) {
	cc, err := u.once.NewClientConn(ctx, "https", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fail(ctx, host, err)
	}
	return &Conn{host: host, cc: cc}, nil
}

// RoundTrip sends req, once: a second call fails with ErrUsed, whatever became of the first.
func (c *Conn) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.used.Swap(true) {
		closeBody(req)
		return nil, ErrUsed
	}
	out, err := outgoing(req)
	if err == nil && canonical(req.URL.Hostname()) != canonical(c.host) {
		err = errors.New("upstream: request is for another host than the connection")
	}
	if err != nil {
		closeBody(req)
		c.Close()
		return nil, err
	}
	resp, err := c.cc.RoundTrip(out)
	if err != nil {
		c.Close()
		return nil, fail(req.Context(), c.host, err)
	}
	resp.Request = req
	resp.Body = &closingBody{ReadCloser: resp.Body, conn: c}
	return resp, nil
}

// Close closes the connection; a response still being read ends with an error. It may be called more than once.
func (c *Conn) Close() {
	c.closeOnce.Do(func() {
		_ = c.cc.Close() // nothing is left to lose on it
	})
}

// closingBody closes the connection with the body.
type closingBody struct {
	io.ReadCloser
	conn *Conn
}

func (b *closingBody) Close() error {
	err := b.ReadCloser.Close()
	b.conn.Close()
	return err
}
