package proxy

import (
	"context"
	"net/http"
)

// serveReverse serves the reverse listener: agents that take a base URL instead of a proxy.
func (s *Server) serveReverse(w http.ResponseWriter, r *http.Request) {
	ex := s.begin(listenerReverse, r.RemoteAddr)
	defer ex.finish(r.Context())
	ex.serve(w, r, func(ctx context.Context) error {
		to, refused := bindReverse(r)
		if refused != nil {
			return refused
		}
		return s.exchange(ctx, ex, to, w, r)
	})
}

// serveInner serves what comes out of intercepted tunnels.
func (s *Server) serveInner(w http.ResponseWriter, r *http.Request) {
	ex := s.begin(listenerProxy, r.RemoteAddr)
	defer ex.finish(r.Context())
	ex.serve(w, r, func(ctx context.Context) error {
		t := infoOf(ctx).tunnel
		if t == nil {
			return mismatch("the connection is not known")
		}
		ex.connect = t.header
		to, refused := bindTunnel(t, r)
		if refused != nil {
			return refused
		}
		return s.exchange(ctx, ex, to, w, r)
	})
}
