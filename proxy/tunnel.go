package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	"countersign/internal/operation"
	"countersign/internal/refusal"
	"countersign/policy"
	"countersign/proxy/intercept"
)

// tunnel passes a connection unread. Its first octets have to be a ClientHello that names the host of the CONNECT, so that it
// is no way to speak something else, or to somebody else behind the same address.
func (s *Server) tunnel(ctx context.Context, ex *exchange, w http.ResponseWriter, port string) error {
	ex.decision = policy.Decision{Effect: policy.Allow, Reasons: []policy.Reason{{Code: "tunnelled", Text: "The operator lets this host pass unread."}}}
	if err := ex.decide(ctx, ""); err != nil {
		return err
	}
	if port == "" {
		port = "443"
	}
	up, err := s.o.Upstream.Dial(ctx, ex.host, port)
	if err != nil {
		return upstreamRefusal(ctx, err, false)
	}
	defer func() { _ = up.Close() }() // splice has ended it in order, or it is given up
	ctx, conn, err := s.hijack(ctx, w)
	if err != nil {
		return ex.lost(err)
	}
	defer conn.release()
	sni, down, err := intercept.PeekClientHello(ctx, conn.Conn)
	if err != nil {
		ex.end(refusal.MalformedRequest, 0, "no ClientHello")
		return nil //nolint:nilerr // the exchange is ended; there is no HTTP to answer in
	}
	if host, _, err := operation.Authority(sni, "https"); err != nil || host != ex.host {
		ex.end(refusal.AuthorityMismatch, 0, "server name differs")
		return nil //nolint:nilerr // as above
	}
	stop := context.AfterFunc(ctx, func() { _ = up.Close() }) // Shutdown has closed the other side
	defer stop()
	ex.status = http.StatusOK
	ex.bytes = splice(down, up)
	return nil
}

// splice copies both ways until both sides have ended, passing each side's end on to the other, and returns how much came
// down.
func splice(down, up net.Conn) int64 {
	done := make(chan struct{})
	go func() { // ends when down does, or when up is closed below
		defer close(done)
		pipe(up, down)
	}()
	n := pipe(down, up)
	<-done
	return n
}

// pipe copies from one side to the other and ends the writing side of it. After an error both are closed: an answer cut off
// must not look like a whole one.
func pipe(to, from net.Conn) int64 {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(onlyWriter{to}, onlyReader{from}, *buf)
	if half, ok := to.(interface{ CloseWrite() error }); err == nil && ok && half.CloseWrite() == nil {
		return n
	}
	if err == nil || !errors.Is(err, net.ErrClosed) {
		_ = from.Close() // the tunnel is over either way
	}
	_ = to.Close()
	return n
}

// onlyReader and onlyWriter keep io.CopyBuffer to its buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)
