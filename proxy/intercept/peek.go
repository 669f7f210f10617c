package intercept

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	// maxHello holds every ClientHello in use (with post-quantum keys about 2 KB) several times over, and its records.
	maxHello    = 20 << 10
	peekTimeout = 10 * time.Second
	hostOctets  = "abcdefghijklmnopqrstuvwxyz0123456789-_."
)

// PeekClientHello reads the ClientHello that must come first on conn, and returns the server name in it (lower-case; "" if there
// is none) and a connection on which it is still unread. With encrypted ClientHello it is the outer name, the only one a network sees.
// It reads at most 20 KB, for at most 10 seconds or until ctx ends. It sends nothing. On an error the bytes are lost and
// conn is left open; in any case it has no read deadline afterwards. Anything but a ClientHello is ErrNotTLS;
// a name that cannot be a host's is ErrSNI.
func PeekClientHello(ctx context.Context, conn net.Conn) (sni string, replay net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, peekTimeout)
	defer cancel()
	tap := &tapConn{Conn: conn}
	defer func() {
		_ = conn.SetReadDeadline(time.Time{}) // it fails on a closed connection only, and the next read says so too
	}()
	var seen bool
	// crypto/tls does the parsing: it puts fragments together and refuses what servers would read in two ways, such as
	// two server names.
	err = tls.Server(tap, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			seen, sni = true, hello.ServerName
			return nil, errPeeked
		},
	}).HandshakeContext(ctx)
	if ctxErr := ctx.Err(); !seen && ctxErr != nil {
		return "", nil, fmt.Errorf("intercept: wait for ClientHello: %w", ctxErr)
	}
	if !seen {
		if tap.failed != nil {
			return "", nil, fmt.Errorf("intercept: read ClientHello: %w", tap.failed)
		}
		return "", nil, fmt.Errorf("intercept: %w: %w", ErrNotTLS, err)
	}
	if sni = strings.ToLower(sni); strings.Trim(sni, hostOctets) != "" {
		// crypto/tls takes any octets for a name. Ones that no host name has are there to be read differently by somebody.
		return "", nil, fmt.Errorf("intercept: name in ClientHello: %w", ErrSNI)
	}
	return sni, &replayConn{Conn: conn, rest: tap.got.Bytes()}, nil
}

var errPeeked = errors.New("peeked")

// tapConn keeps what is read from a connection, up to a bound, and writes nothing to it.
type tapConn struct {
	net.Conn
	got    bytes.Buffer
	failed error // of the connection itself, as against what was read from it
}

func (c *tapConn) Read(p []byte) (int, error) {
	room := maxHello - c.got.Len()
	if room <= 0 {
		return 0, errors.New("ClientHello is too long")
	}
	n, err := c.Conn.Read(p[:min(len(p), room)])
	c.got.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

func (c *tapConn) Write(p []byte) (int, error) { return len(p), nil }

// Close ends a pending read; the connection is the caller's. crypto/tls calls it when the context ends.
func (c *tapConn) Close() error { return c.SetReadDeadline(time.Unix(1, 0)) }

func (c *tapConn) SetDeadline(time.Time) error      { return nil }
func (c *tapConn) SetWriteDeadline(time.Time) error { return nil }

// replayConn gives back what was read ahead before it reads on.
type replayConn struct {
	net.Conn
	rest []byte
}

func (c *replayConn) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite ends the sending side, where the connection underneath can.
func (c *replayConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
