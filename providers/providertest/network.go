package providertest

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Listener is a network of one address, in memory, so that it works inside a bubble. Let a server accept from it, and
// give a client its Dial.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

// Listen returns a new network.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept returns the other end of the next dialled connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial; connections live on.
func (l *Listener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr returns an address that names this machine and leads nowhere.
func (l *Listener) Addr() net.Addr { return address }

var address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}

// Dial connects to whoever accepts, whatever the address.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	up, down := newStream(), newStream()
	select {
	case l.conns <- &conn{in: up, out: down}:
		return &conn{in: down, out: up}, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// conn is one end of a connection with buffers, as the kernel's have. net.Pipe has none, so that two TLS ends closing at
// once wait for each other with a mutex held, which stops the clock of a bubble for good.
type conn struct{ in, out *stream }

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }

func (c *conn) Close() error {
	c.in.end(true)
	c.out.end(false)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return address }
func (c *conn) RemoteAddr() net.Addr { return address }

func (c *conn) SetDeadline(t time.Time) error      { return c.SetReadDeadline(t) }
func (c *conn) SetReadDeadline(t time.Time) error  { c.in.until(t); return nil }
func (c *conn) SetWriteDeadline(_ time.Time) error { return nil } // a write does not wait

// stream is one direction. A write never waits: tests do not send more than memory holds.
type stream struct {
	mu       sync.Mutex
	data     []byte
	ended    bool // no more will come
	dropped  bool // nobody reads any more
	deadline time.Time
	changed  chan struct{} // closed and replaced at each change
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

func (s *stream) changeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return 0, io.ErrClosedPipe
	}
	s.data = append(s.data, p...)
	s.changeLocked()
	return len(p), nil
}

func (s *stream) end(reader bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.dropped = true, s.dropped || reader
	s.changeLocked()
}

func (s *stream) until(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	s.changeLocked()
}

func (s *stream) read(p []byte) (int, error) {
	for {
		n, changed, left, err := s.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if left == 0 {
			<-changed
			continue
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take reads what is there. With nothing there it says what to wait for, and how long: 0 is for ever.
func (s *stream) take(p []byte) (n int, changed <-chan struct{}, left time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.deadline.IsZero() {
		if left = time.Until(s.deadline); left <= 0 {
			return 0, nil, 0, os.ErrDeadlineExceeded
		}
	}
	switch {
	case s.dropped:
		return 0, nil, 0, net.ErrClosed
	case len(s.data) > 0:
		n = copy(p, s.data)
		s.data = s.data[n:]
		return n, nil, 0, nil
	case s.ended:
		return 0, nil, 0, io.EOF
	}
	return 0, s.changed, left, nil
}
