// Package graph stands in for Microsoft Graph and the Entra login hosts, on the wire: it answers as they do, keeps the state
// that calls change, records every request it got, and misbehaves on demand. It imports nothing of ours, so that a mistake
// made on both sides shows.
package graph

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a Server is when its options do not say otherwise.
const (
	DefaultTenant       = "11111111-aaaa-4bbb-8ccc-000000000001"
	DefaultClientID     = "22222222-aaaa-4bbb-8ccc-000000000002"
	DefaultClientSecret = "sim~secret.Graph-0123456789"
)

const (
	hostGraph = "graph.microsoft.com"
	hostLogin = "login.microsoftonline.com"
	maxBody   = 16 << 20
)

func loginHosts() []string {
	return []string{hostLogin, "login.microsoft.com", "login.windows.net", "sts.windows.net"}
}

// Options says what the simulated tenant looks like. The zero value is a tenant of two people, alice and bob @contoso.com.
type Options struct {
	TenantID, ClientID, ClientSecret string
	// AnyToken accepts every bearer token at Graph, as a stand-in for delegated access by whoever sends it.
	AnyToken bool
	// Users replaces the tenant's people. Those without an ID get one.
	Users []User
	// Hosts adds names to the TLS certificate and to those served as Graph.
	Hosts []string
	// Now is the clock; nil is the real one.
	Now func() time.Time
}

// Request is one request as it arrived.
type Request struct {
	Time       time.Time
	Method     string
	Host       string
	Target     string // the request line's target, as sent
	Proto      string
	Header     http.Header
	Trailer    http.Header
	Body       []byte // the octets, before any Content-Encoding is undone
	BodyErr    error  // what ended the body early
	RemoteAddr string
}

// Server is a simulated Graph with its login service. Its zero value is not usable: call New.
type Server struct {
	opts      Options
	now       func() time.Time
	authority *authority
	keys      *signingKeys
	directory *directory
	streams   streams

	mu       sync.Mutex
	requests []Request
	faults   []*Fault

	serving  sync.WaitGroup
	listener net.Listener
	server   *http.Server
}

// New makes a Server. It listens nowhere until Start.
func New(o Options) (*Server, error) {
	for _, d := range []struct {
		field *string
		value string
	}{{&o.TenantID, DefaultTenant}, {&o.ClientID, DefaultClientID}, {&o.ClientSecret, DefaultClientSecret}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	auth, err := newAuthority(append(append([]string{hostGraph}, loginHosts()...), o.Hosts...))
	if err != nil {
		return nil, err
	}
	keys, err := newSigningKeys()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory(o.Users)
	if err != nil {
		return nil, err
	}
	return &Server{opts: o, now: o.Now, authority: auth, keys: keys, directory: dir}, nil
}

// CertPEM returns the certificate of the authority behind the TLS certificates that Start serves.
func (s *Server) CertPEM() []byte { return slices.Clone(s.authority.certPEM) }

// Start serves TLS, HTTP/1.1 and HTTP/2, on a loopback port of its own until Close.
func (s *Server) Start() error {
	if s.server != nil {
		return errors.New("graph simulator: started twice")
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("graph simulator: %w", err)
	}
	s.listener = ln
	s.server = &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{s.authority.leaf}},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // aborted handlers are what it is for
	}
	s.serving.Go(func() {
		_ = s.server.ServeTLS(ln, "", "") // always http.ErrServerClosed after Close
	})
	return nil
}

// Addr returns the address that Start listens on, "" before it.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Resolve returns what a client must connect to for each simulated host: host name to address.
func (s *Server) Resolve() map[string]string {
	m := map[string]string{hostGraph: s.Addr()}
	for _, h := range append(loginHosts(), s.opts.Hosts...) {
		m[h] = s.Addr()
	}
	return m
}

// Close stops serving and ends streams under way.
func (s *Server) Close() {
	s.streams.end()
	if s.server != nil {
		_ = s.server.Close() // nothing is lost that a simulator has to keep
		s.serving.Wait()
	}
}

// Requests returns what arrived so far, in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Received returns the requests with this method and this path, compared without case; a query is not looked at.
func (s *Server) Received(method, path string) []Request {
	return slices.DeleteFunc(s.Requests(), func(r Request) bool {
		target, _, _ := strings.Cut(r.Target, "?")
		return r.Method != method || !strings.EqualFold(target, path)
	})
}

// Handler answers for all simulated hosts, told apart by Host.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		s.record(r, raw, err)
		if err != nil {
			http.Error(w, "body not read", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(raw))
		host := strings.ToLower(r.Host)
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if w = s.misbehave(w, r); w == nil {
			return
		}
		switch {
		case slices.Contains(loginHosts(), host):
			s.login(w, r)
		case host == hostGraph, slices.Contains(s.opts.Hosts, host):
			s.graph(w, r, raw)
		default:
			http.Error(w, "no such host here", http.StatusMisdirectedRequest)
		}
	})
}

func (s *Server) record(r *http.Request, body []byte, bodyErr error) {
	got := Request{
		Time: s.now(), Method: r.Method, Host: r.Host, Target: r.RequestURI, Proto: r.Proto, Header: r.Header.Clone(),
		Trailer: r.Trailer.Clone(), Body: body, BodyErr: bodyErr, RemoteAddr: r.RemoteAddr,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, got)
}
