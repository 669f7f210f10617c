// Package callback is the public listener: providers report there that an answer is ready, and people answer there on a
// provider's own pages. Nothing that arrives here approves anything: a callback only makes whoever waits look at once, and a
// page proves who answers by itself.
package callback

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"countersign/providers"
)

const (
	maxBody    = 64 << 10         // largest callback: a status and an id
	readTime   = 10 * time.Second // longest a request may take to arrive
	writeTime  = 30 * time.Second // longest an answer may take
	perSecond  = 50               // callbacks of one provider that are looked at
	burst      = 200
	maxHeader  = 16 << 10
	idleTime   = time.Minute
	verifyPath = "/verify/" // before the provider's name and its pages
)

// Options configure a Server.
type Options struct {
	// Callers are the providers that call back, Pages those that have web pages, by their configured names.
	Callers map[string]providers.Caller
	Pages   map[string]providers.Pager
	// Wake tells every replica that a transaction may be settled. It must not block for long.
	Wake   func(ctx context.Context, provider, transaction string)
	TLS    *tls.Config  // nil: plain HTTP, for a listener behind something that ends TLS
	Logger *slog.Logger // nil: silent
}

// Server serves the public listener. It is safe for concurrent use.
type Server struct {
	o    Options
	mux  *http.ServeMux
	rate map[string]*rate.Limiter
}

// New returns a Server.
func New(o Options) (*Server, error) {
	if o.Wake == nil && len(o.Callers) > 0 {
		return nil, errors.New("callback: nobody to wake")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, mux: http.NewServeMux(), rate: map[string]*rate.Limiter{}}
	s.mux.HandleFunc("POST /v1/callbacks/{provider}", s.called)
	for name := range o.Callers {
		s.rate[name] = rate.NewLimiter(perSecond, burst)
	}
	for name, p := range o.Pages {
		s.mux.Handle(PagePath(name), p.Pages())
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not found", http.StatusNotFound) })
	return s, nil
}

// PagePath is where the pages of a provider are: a path that ends in a slash.
func PagePath(provider string) string { return verifyPath + provider + "/" }

// Serve serves l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.mux, TLSConfig: s.o.TLS,
		ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug), // handshakes that strangers break off
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // its answers are short: nothing worth waiting for
	defer stop()
	serve := srv.Serve
	if s.o.TLS != nil {
		serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// called takes a provider's callback. Whoever is not the provider learns nothing, and what is about no transaction of ours is
// answered as what is.
func (s *Server) called(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("provider")
	p, ok := s.o.Callers[name]
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if !s.rate[name].Allow() { // the poll finds the answer all the same
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many callbacks", http.StatusTooManyRequests)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the body could not be read, or is too large", http.StatusBadRequest)
		return
	}
	transaction, err := p.Callback(r, body)
	if err != nil {
		s.o.Logger.Warn("callback refused", "provider", name, "error", err)
		http.Error(w, "the signature is not valid", http.StatusUnauthorized)
		return
	}
	if transaction != "" {
		s.o.Wake(r.Context(), name, transaction)
	}
	w.WriteHeader(http.StatusNoContent)
}
