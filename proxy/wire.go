package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/refusal"
)

// wireConn is an HTTP/1.1 connection that reads strictly. net/http forgives some of what request smuggling is made of, and
// hides it from handlers: a Content-Length beside a Transfer-Encoding, Transfer-Encoding in HTTP/1.0, folded lines, bare line
// feeds, a Host that differs from the CONNECT. So each head is looked at before net/http gets it, and the framing is followed
// to know where the next one begins. A head that is refused is replaced by one that a handler recognises, so that it is
// recorded and answered in its turn like any other request.
//
// The other way, what net/http answers by itself is replaced by a refusal of ours (see Write).
type wireConn struct {
	net.Conn
	listener string
	maxHead  int
	rejected func(*wireConn) []byte

	// The reading side: net/http has one reader at a time.
	buf   []byte // read and not yet handed over
	pass  int    // how much of buf may be handed over
	state wireState
	left  int64     // of the body or chunk
	begun time.Time // when the first octet of an incomplete head came
	fail  error     // sticky

	bad     atomic.Pointer[refusal.Error] // what was refused: a head, or the framing of a body
	serving atomic.Bool                   // a handler has, or had, the current request
	raw     atomic.Bool                   // hijacked
	ended   atomic.Bool                   // nothing more may be written
}

type wireState uint8

const (
	wireHead wireState = iota
	wireBody
	wireChunkSize
	wireChunkData
	wireChunkEnd
	wireTrailer
	wireRaw  // after CONNECT
	wireDead // after a refused head: whatever comes is thrown away
)

const (
	badTarget   = "/countersign-malformed"
	badHost     = "malformed.invalid"
	badRequest  = "GET " + badTarget + " HTTP/1.1\r\nHost: " + badHost + "\r\nConnection: close\r\n\r\n"
	wireBuffer  = 4 << 10
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10

	maxChunkDigits = 16 // net/http's limit
)

// wireBuffers holds buffers of connections that have nothing buffered.
var wireBuffers = sync.Pool{New: func() any { b := make([]byte, 0, wireBuffer); return &b }}

// tlsWire is a wireConn over TLS. net/http fills in Request.TLS from its ConnectionState.
type tlsWire struct {
	*wireConn
	tls *tls.Conn
}

// ConnectionState returns that of the TLS connection underneath.
func (c tlsWire) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

func (c *wireConn) wire() *wireConn { return c }

// Read hands over what has been checked. See wireConn.
func (c *wireConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.pass > 0 {
			return c.take(p), nil
		}
		if c.fail != nil {
			return 0, c.fail
		}
		if c.ended.Load() { // net/http has refused a request: it may not go on to the next
			return 0, io.EOF
		}
		if done, n, err := c.step(p); done {
			return n, err
		}
	}
}

// step advances the framing by one part, or reads more. done says that Read is to return.
func (c *wireConn) step(p []byte) (done bool, n int, err error) {
	switch c.state {
	case wireHead:
		if c.head() {
			return false, 0, nil
		}
	case wireChunkSize, wireChunkEnd, wireTrailer:
		ok, err := c.chunk()
		if err != nil {
			c.fail = err
			c.bad.Store(err) // for Close
			return true, 0, err
		}
		if ok {
			return false, 0, nil
		}
	case wireBody, wireChunkData:
		if c.left == 0 {
			next := wireHead
			if c.state == wireChunkData {
				next = wireChunkEnd
			}
			c.state = next
			return false, 0, nil
		}
		if len(c.buf) > 0 {
			c.pass = int(min(c.left, int64(len(c.buf))))
			c.left -= int64(c.pass)
			return false, 0, nil
		}
		n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
		c.left -= int64(n)
		return true, n, err
	case wireRaw:
		if len(c.buf) > 0 {
			c.pass = len(c.buf)
			return false, 0, nil
		}
		n, err := c.Conn.Read(p)
		return true, n, err
	case wireDead:
		c.buf = c.buf[:0]
	default:
		return true, 0, badFraming()
	}
	if err := c.fill(); err != nil {
		return true, 0, err
	}
	return false, 0, nil
}

// take hands over octets that passed.
func (c *wireConn) take(p []byte) int {
	n := copy(p, c.buf[:c.pass])
	c.pass -= n
	if rest := copy(c.buf, c.buf[n:]); rest > 0 {
		c.buf = c.buf[:rest]
		return n
	}
	if cap(c.buf) == wireBuffer {
		b := c.buf[:0]
		wireBuffers.Put(&b)
	}
	c.buf = nil
	return n
}

// fill reads more into buf. It bounds the time a head may take from its first octet on: net/http bounds only the part that
// it sees itself.
func (c *wireConn) fill() error {
	switch {
	case c.buf == nil:
		c.buf = *wireBuffers.Get().(*[]byte)
	case len(c.buf) == cap(c.buf):
		c.buf = append(c.buf, make([]byte, len(c.buf))...)[:len(c.buf)]
	}
	if c.state == wireHead && len(c.buf) > 0 {
		if c.begun.IsZero() {
			c.begun = time.Now()
		}
		if err := c.SetReadDeadline(c.begun.Add(headerTime)); err != nil {
			return err
		}
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// head looks for a complete head at the start of buf, and reports whether it found one or something to refuse.
func (c *wireConn) head() bool {
	end := bytes.Index(c.buf, []byte("\r\n\r\n"))
	part := c.buf
	if end >= 0 {
		part = c.buf[:end+4]
	}
	f, err := readHead(part, end >= 0)
	switch {
	case err == nil && len(part) > c.maxHead:
		err = malformed("the header is larger than the limit")
	case err == nil && end < 0:
		return false
	}
	c.begun = time.Time{}
	if err != nil {
		c.bad.Store(err)
		c.buf = append(c.buf[:0], badRequest...)
		c.pass, c.state = len(c.buf), wireDead
		return true
	}
	c.pass, c.left, c.state = len(part), f.length, wireBody
	switch {
	case f.connect:
		c.state = wireRaw
	case f.chunked:
		c.state = wireChunkSize
	}
	return true
}

// Write passes on what a handler writes. What net/http writes when no handler has seen the request is its own refusal, which
// is replaced by ours, recorded.
func (c *wireConn) Write(p []byte) (int, error) {
	if c.serving.Load() || c.raw.Load() {
		return c.Conn.Write(p)
	}
	if c.ended.Swap(true) {
		return len(p), nil
	}
	if _, err := c.Conn.Write(c.rejected(c)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite ends the sending side, where the connection underneath can.
func (c *wireConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection. After a refusal of a malformed request the peer may still be sending: without reading on for
// a moment, the reset that its octets provoke would destroy the answer.
func (c *wireConn) Close() error {
	if (c.bad.Load() != nil || c.ended.Load()) && !c.raw.Load() && c.CloseWrite() == nil {
		if c.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
			_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // until it hangs up, or is cut off
		}
	}
	return c.Conn.Close()
}
