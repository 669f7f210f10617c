// Package control is the control API: health, readiness and metrics, the holds and their events, and the check of a plan.
// Operators present a token, agents an assertion, and agents see only what they caused. Nothing here can approve anything.
package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"countersign/internal/hold"
	"countersign/internal/refusal"
)

// Check is one thing that readiness depends on.
type Check struct {
	Name string
	// Ready returns nil when all is well. A *Degraded error means that it still works, on something older.
	Ready func() error
}

// Degraded is the error of a check that failed without stopping the work: a policy that could not be
// loaded while the last good one stays in force.
type Degraded struct{ Err error }

func (d *Degraded) Error() string { return d.Err.Error() }

// Unwrap returns what went wrong.
func (d *Degraded) Unwrap() error { return d.Err }

// Options configure a Server.
type Options struct {
	Token       func() string // of operators, asked at each request; nil or "" answers operator routes with 401
	Checks      []Check       // asked at each readiness request; must be quick and dial nothing
	Warnings    []string      // shown to operators in readiness
	Metrics     *Metrics
	ExternalURL string // under which agents reach this listener, where that is not its address; its host is accepted too

	Holds    Holds      // nil: there are no /v1 routes
	Identify Identifier // says which agent asks; nil: only operators are let in
	Plan     Planner    // judges the requests of a plan; nil: no /v1/check
	Outcome  func(hold.Record) *refusal.Error
	Logger   *slog.Logger
}

// Server answers the control API's routes. It is safe for concurrent use.
type Server struct {
	o     Options
	mux   *http.ServeMux
	hub   hub
	plans limiter

	feedMu  sync.Mutex
	feeds   int            // event streams
	feedsOf map[string]int // by requester and agent
}

// New returns a Server.
func New(o Options) (*Server, error) {
	if o.Metrics == nil {
		return nil, errors.New("control: no metrics")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	for route, h := range s.routes() {
		s.mux.Handle(route, h)
	}
	return s, nil
}

// routes are what this server answers. The OpenAPI description lists the same, which a test holds.
func (s *Server) routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		"GET /healthz": http.HandlerFunc(s.health),
		"GET /readyz":  http.HandlerFunc(s.ready),
		"GET /metrics": s.operator(promhttp.HandlerFor(s.o.Metrics.registry, promhttp.HandlerOpts{})),
	}
	if s.o.Holds == nil {
		return routes
	}
	routes["GET /v1/openapi.json"] = http.HandlerFunc(s.openapi)
	routes["GET /v1/holds"] = s.answering(s.listHolds)
	routes["GET /v1/holds/{id}"] = s.answering(s.showHold)
	routes["DELETE /v1/holds/{id}"] = s.operator(s.answering(s.cancelHold))
	routes["GET /v1/events"] = s.answering(s.events)
	routes["GET /v1/people"] = s.operator(s.answering(s.listBlocked))
	routes["DELETE /v1/people/{person}/block"] = s.operator(s.answering(s.unblock))
	if s.o.Plan != nil {
		routes["POST /v1/check"] = s.answering(s.checkPlan)
	}
	return routes
}

// Serve serves l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.ownHost(l.Addr(), s.mux),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv.BaseContext = func(net.Listener) context.Context { return ctx } // long polls and event streams end with it
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })          // its answers are short: nothing worth waiting for
	defer stop()
	if s.o.Holds != nil {
		var wg sync.WaitGroup
		wg.Go(func() { s.hub.follow(ctx, s.o.Holds, s.o.Logger) })
		defer wg.Wait()
		defer cancel()
	}
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ownHost refuses requests for any other host than the listener's own, so that a web page whose name was pointed
// at this address (DNS rebinding) can read nothing here.
func (s *Server) ownHost(addr net.Addr, next http.Handler) http.Handler {
	_, port, err := net.SplitHostPort(addr.String())
	external := ""
	if u, err := url.Parse(s.o.ExternalURL); err == nil {
		external = strings.ToLower(u.Host)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := []string{addr.String(), "localhost:" + port, "127.0.0.1:" + port, "[::1]:" + port}
		if external != "" {
			own = append(own, external)
		}
		if err != nil || !slices.Contains(own, strings.ToLower(r.Host)) && !isAddress(r.Host, port) {
			http.Error(w, "misdirected request: use the listener's own address", http.StatusMisdirectedRequest)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// isAddress accepts a literal address with our port: a probe of a container calls its pod's address, and a web
// page cannot be served from there.
func isAddress(host, port string) bool {
	h, p, err := net.SplitHostPort(host)
	return err == nil && p == port && net.ParseIP(h) != nil
}

// operator lets only those in who know the token.
func (s *Server) operator(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.isOperator(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="countersign"`)
			writeProblem(w, problem{http.StatusUnauthorized, "this route needs the operator's token"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) isOperator(r *http.Request) bool {
	if s.o.Token == nil {
		return false
	}
	want := s.o.Token()
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	// Hashes are of one length, so the comparison says nothing about the token's.
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return ok && want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

type checkResult struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

// ready answers 200 while calls can be judged, 503 otherwise; operators also see which check says what.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	status, code := "ready", http.StatusOK
	results := []checkResult{}
	for _, c := range s.o.Checks {
		err := c.Ready()
		_, degraded := errors.AsType[*Degraded](err)
		switch {
		case err == nil:
			results = append(results, checkResult{c.Name, "ready", ""})
			continue
		case degraded:
			if status == "ready" {
				status = "degraded"
			}
			results = append(results, checkResult{c.Name, "degraded", err.Error()})
		default:
			status, code = "not_ready", http.StatusServiceUnavailable
			results = append(results, checkResult{c.Name, "not_ready", err.Error()})
		}
	}
	if !s.isOperator(r) {
		writeJSON(w, code, map[string]string{"status": status})
		return
	}
	writeJSON(w, code, struct {
		Status   string        `json:"status"`
		Checks   []checkResult `json:"checks"`
		Warnings []string      `json:"warnings"`
	}{status, results, append([]string{}, s.o.Warnings...)})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}
