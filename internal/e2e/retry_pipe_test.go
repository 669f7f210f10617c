//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
)

// pipes is a listener whose connections are in memory, where virtual time can see them wait.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- loopback{server}:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return virtual() }

func virtual() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(virtualAddr)) }

// loopback is a pipe that says it is a connection on this machine.
type loopback struct{ net.Conn }

func (loopback) LocalAddr() net.Addr  { return virtual() }
func (loopback) RemoteAddr() net.Addr { return virtual() }

// Handshake is not needed: the reverse listener is plain.
func (*parts) Handshake(context.Context, net.Conn, string) (*tls.Conn, error) { return nil, errNotHere }
