package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"countersign/proxy"
)

// pipeWorld is a sidecar whose reverse listener is in memory, for tests in synthetic time.
type pipeWorld struct {
	server *proxy.Server
	desk   *desk
	ln     *pipeListener
	done   chan error
}

func newPipeWorld(t *testing.T, maxWait time.Duration) *pipeWorld {
	t.Helper()
	steps := &steps{}
	p := &pipeWorld{desk: newDesk(steps), ln: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}, done: make(chan error, 1)}
	var err error
	p.server, err = proxy.New(proxy.Options{
		Parser: parser{}, Decider: &script{}, Holder: p.desk, Recorder: &journal{steps: steps}, Identifier: identifier{},
		Interceptor: interceptor{}, Upstream: unreachable{}, Intercept: []string{apiHost}, Name: "pipe", MaxWait: maxWait,
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.server.ServeReverse(context.Background(), p.ln) }()
	return p
}

func (p *pipeWorld) patch(t *testing.T, wait string) answer {
	t.Helper()
	client, server := net.Pipe()
	p.ln.conns <- pipeConn{server}
	if wait != "" {
		wait = "Countersign-Wait: " + wait + "\r\n"
	}
	go func() {
		_, _ = fmt.Fprintf(client, "PATCH /%s/ HTTP/1.1\r\nHost: 127.0.0.1:81\r\nCountersign-Assertion: alice\r\n%sContent-Length: 2\r\nConnection: close\r\n\r\n{}", apiHost, wait)
	}()
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(b)}
}

func (p *pipeWorld) end(t *testing.T) {
	t.Helper()
	if err := p.server.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if err := <-p.done; err != nil {
		t.Errorf("ServeReverse = %v", err)
	}
}

type unreachable struct{ proxy.Upstream }

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr }

var pipeAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81}

// pipeConn is a pipe that says it is TCP.
type pipeConn struct{ net.Conn }

func (pipeConn) LocalAddr() net.Addr { return pipeAddr }
