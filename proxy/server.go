// Package proxy is the enforcement point: it reads every call an agent makes to an admin API, asks policy about it, holds it
// while a person is asked, and sends on exactly what was decided upon, once, or refuses it.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/refusal"
)

const (
	headerTime = 10 * time.Second // longest a request's head may take
	idleTime   = 2 * time.Minute  // longest a connection is kept between requests
	bodyTime   = time.Minute      // longest a request's body may take
	recordTime = 10 * time.Second // longest one journal record may take
	drainTime  = 10 * time.Second // longest a refused caller is listened to
	drainMost  = 64 << 20         // and how much of it
	cutTime    = 5 * time.Second  // left of a shutdown when calls under way are cut off
	answerTime = 10 * time.Minute // longest a redeemed call may take until its answer's header is there

	defaultMaxBody   = 10 << 20
	defaultMaxHeader = 64 << 10
	defaultResume    = 2 * time.Minute
)

// Options says what a Server works with. The eight collaborators are required.
type Options struct {
	Parser      Parser
	Decider     Decider
	Holder      Holder
	Recorder    Recorder
	Identifier  Identifier
	Interceptor Interceptor
	Upstream    Upstream
	Intercept   []string // host patterns: those of the catalog, and upstream.intercept
	Tunnel      []string // host patterns passed unread

	MaxBody   int64         // largest request body, in octets; 0: 10 MiB
	MaxHeader int           // largest request head, in octets; 0: 64 KiB
	MaxWait   time.Duration // longest a caller is kept; 0: until the outcome
	Resume    time.Duration // oldest approval that may be redeemed; 0: 2 minutes

	// Asserted accepts requesters named by a plain header, save for the categories that NeedsAttested names; without
	// NeedsAttested, for none.
	Asserted      bool
	NeedsAttested func(category string) bool

	Name   string                   // how Via names this sidecar; loops are found by it, so each has its own
	APIOf  func(host string) string // the API of a host, which shapes refusals made before a request is read; may be nil
	Logger *slog.Logger             // nil: silent
	// Observe is told of every exchange that ended. It must not block. May be nil.
	Observe func(audit.Event)
	// HoldURL is where an agent can watch a hold, for callers that do not wait; nil: nowhere.
	HoldURL func(hold.ID) string
	// Waiting is told +1 when a caller begins to wait for a person, -1 when it ends. May be nil.
	Waiting func(delta int)
}

// Server enforces. Make it with New, serve listeners, end it with Shutdown.
type Server struct {
	o      Options
	admit  *Admission
	proxy  *http.Server // explicit proxy
	inner  *http.Server // what comes out of intercepted tunnels
	revers *http.Server // reverse listener
	feed   *feed        // of inner
	deep   workers
	start  sync.Once // of inner

	stopping context.Context //nolint:containedctx // the life of the server, which every wait watches
	stop     context.CancelFunc
	cut      context.Context //nolint:containedctx // ends shortly before Shutdown gives up: what is still under way is cut off
	cutOff   context.CancelCauseFunc

	mu    sync.Mutex
	conns map[net.Conn]context.CancelFunc // hijacked ones
	wg    sync.WaitGroup                  // their goroutines, and inner's
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Parser == nil || o.Decider == nil || o.Holder == nil || o.Recorder == nil || o.Identifier == nil ||
		o.Interceptor == nil || o.Upstream == nil {
		return nil, errors.New("proxy: parser, decider, holder, recorder, identifier, interceptor and upstream are all required")
	}
	if o.MaxBody < 0 || o.MaxHeader < 0 || o.MaxWait < 0 || o.Resume < 0 {
		return nil, errors.New("proxy: negative limit")
	}
	if o.Name == "" {
		return nil, errors.New("proxy: no name, so loops could not be found")
	}
	admit, err := NewAdmission(o.Intercept, o.Tunnel)
	if err != nil {
		return nil, err
	}
	withDefaults(&o)
	s := &Server{o: o, admit: admit, feed: newFeed(), deep: newWorkers(), conns: map[net.Conn]context.CancelFunc{}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.cut, s.cutOff = context.WithCancelCause(context.Background())
	s.proxy = s.httpServer(http.HandlerFunc(s.serveProxy))
	s.revers = s.httpServer(http.HandlerFunc(s.serveReverse))
	s.inner = s.httpServer(http.HandlerFunc(s.serveInner))
	s.inner.MaxHeaderBytes = max(1<<20, 2*o.MaxHeader) // HTTP/2 answers 431 by itself and unrecorded: see checkHeader
	s.inner.ConnContext = s.innerContext
	s.inner.Protocols = new(http.Protocols)
	s.inner.Protocols.SetHTTP1(true)
	s.inner.Protocols.SetHTTP2(true)
	s.inner.HTTP2 = &http.HTTP2Config{CountError: s.h2Rejected, WriteByteTimeout: time.Minute}
	return s, nil
}

func withDefaults(o *Options) {
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.MaxHeader == 0 {
		o.MaxHeader = defaultMaxHeader
	}
	if o.Resume == 0 {
		o.Resume = defaultResume
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.APIOf == nil {
		o.APIOf = func(string) string { return "" }
	}
	if o.NeedsAttested == nil {
		o.NeedsAttested = func(string) bool { return true }
	}
	if o.Observe == nil {
		o.Observe = func(audit.Event) {}
	}
	if o.Waiting == nil {
		o.Waiting = func(int) {}
	}
}

// httpServer makes one of the three servers. There is no WriteTimeout, which would end holds; bodies have a deadline of
// their own.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    s.o.MaxHeader,
		ErrorLog:          slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		ConnState:         connState,
		// OPTIONS * would be answered without a record.
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if w, ok := c.(interface{ wire() *wireConn }); ok {
				return context.WithValue(ctx, connKey{}, &connInfo{wire: w.wire()})
			}
			return ctx
		},
	}
}

// ServeProxy serves the explicit proxy on ln until Shutdown or the end of ctx, which stops it accepting and ends nothing
// that is under way.
func (s *Server) ServeProxy(ctx context.Context, ln net.Listener) error {
	s.start.Do(func() {
		s.inner.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
		s.wg.Go(func() { _ = s.inner.Serve(s.feed) }) // ends with Shutdown, always with ErrServerClosed
	})
	return s.serve(ctx, s.proxy, ln, listenerProxy)
}

// ServeReverse serves the reverse listener on ln, as ServeProxy does the explicit proxy.
func (s *Server) ServeReverse(ctx context.Context, ln net.Listener) error {
	return s.serve(ctx, s.revers, ln, listenerReverse)
}

func (s *Server) serve(ctx context.Context, srv *http.Server, ln net.Listener, name string) error {
	if s.isDraining() {
		_ = ln.Close() // nothing was accepted on it
		return nil
	}
	srv.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // Serve returns the error
	defer stop()
	err := srv.Serve(&strictListener{Listener: ln, s: s, name: name})
	if err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("serve %s listener: %w", name, err)
	}
	return nil
}

// Shutdown ends the server: it stops accepting, wakes those who wait for a person with a 503, closes tunnels, lets calls
// that are under way upstream finish, and waits. Some time before ctx's deadline it cuts those off, so that their callers get
// an answer and the journal its record; when ctx ends it closes what is left and returns ctx's error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.deep.end()
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		last := time.AfterFunc(left-min(cutTime, left/2), func() { s.cutOff(errCutOff) })
		defer last.Stop()
	}
	s.mu.Lock()
	if s.stopping.Err() == nil {
		s.stop()
		for c, cancel := range s.conns {
			cancel()
			_ = c.Close() // the tunnel ends; nobody is left to tell
		}
	}
	s.mu.Unlock()
	servers := []*http.Server{s.proxy, s.revers, s.inner}
	errs := make([]error, len(servers))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Go(func() {
			if errs[i] = srv.Shutdown(ctx); errs[i] != nil {
				_ = srv.Close() // the deadline has passed: ends the connections it waits for
			}
		})
	}
	wg.Wait()
	go func() { // ends with the last tunnel; all of them are closed
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, ctx.Err())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shut down proxy: %w", err)
	}
	return nil
}

func (s *Server) isDraining() bool {
	return s.stopping.Err() != nil
}

// track takes a hijacked connection into Shutdown's care, unless that has begun. The caller untracks it.
func (s *Server) track(c net.Conn, cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDraining() {
		return false
	}
	s.conns[c] = cancel
	s.wg.Add(1)
	return true
}

// handOver takes a connection out of those that Shutdown closes: from now on a request on it may be held, and is to be answered.
func (s *Server) handOver(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) untrack(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

func draining() *refusal.Error { return &refusal.Error{Code: refusal.Draining} }
