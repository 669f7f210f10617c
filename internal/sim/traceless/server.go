// Package traceless simulates an identity-verification API shaped as Countersign's defaults for Traceless suppose it to
// be: signed requests, a start, a poll, callbacks, and the ways in which they disappoint. The real API is described to
// customers only, so that this stands in for a supposition. It imports nothing else of this module, so that a mistake
// shared with the client that it tests would show. It protects nobody.
package traceless

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how the simulator differs from its defaults. The zero value is a working server.
type Options struct {
	Organization  string           // made up when empty
	SigningSecret string           // made up when empty
	Listener      net.Listener     // nil: a free port of 127.0.0.1
	Names         []string         // further names and addresses that the certificate is good for
	Now           func() time.Time // nil: time.Now
	Lifetime      time.Duration    // how long a challenge can be answered; 0: two minutes
	// Deliver sends a callback. nil: none is sent. CallbackTo makes one that speaks HTTP.
	Deliver func(ctx context.Context, header http.Header, body []byte)
}

// Server is a running simulator.
type Server struct {
	organization, secret string
	now                  func() time.Time
	lifetime             time.Duration
	host                 string
	ca                   authority
	http                 *http.Server
	deliver              func(ctx context.Context, header http.Header, body []byte)
	ctx                  context.Context //nolint:containedctx // the server's own life, not a call's
	cancel               context.CancelFunc
	work                 sync.WaitGroup
	closing              sync.Once

	mu         sync.Mutex
	people     map[string]*person
	challenges []*challenge
	requests   []Request
}

// Request is one call that arrived, signed well or not.
type Request struct {
	Method, Target string
	Header         http.Header
	Body           string
	Signed         bool
	Status         int // of the answer; 0 when a fault spoilt it
}

// Start serves the API over TLS, under a certificate of the simulator's own authority.
func Start(o Options) (*Server, error) {
	s := &Server{
		organization: cmp.Or(o.Organization, newUUID()), secret: cmp.Or(o.SigningSecret, rand.Text()+rand.Text()),
		now: o.Now, lifetime: cmp.Or(o.Lifetime, 2*time.Minute), deliver: o.Deliver, people: map[string]*person{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.ca, err = newAuthority(s.now(), append([]string{"127.0.0.1", "::1", "localhost"}, o.Names...)); err != nil {
		return nil, err
	}
	ln := o.Listener
	if ln == nil {
		var lc net.ListenConfig
		if ln, err = lc.Listen(context.Background(), "tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.host = ln.Addr().String()
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.ca.leaf}, MinVersion: tls.VersionTLS12},
		ErrorLog:  log.New(discard{}, "", 0), // aborted connections are part of the script
	}
	s.work.Go(func() { _ = s.http.ServeTLS(ln, "", "") }) // ends with Close
	return s, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Close ends the server, with every open connection and every callback that is still to come.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		s.cancel()
		err = s.http.Close()
	})
	s.work.Wait()
	return err
}

// Endpoint returns what a client has to be given as the API endpoint: it ends in the organization.
func (s *Server) Endpoint() string { return "https://" + s.host + "/api/" + s.organization }

// Organization returns the UUID of the one organization there is.
func (s *Server) Organization() string { return s.organization }

// SigningSecret returns the key that requests and callbacks are signed with.
func (s *Server) SigningSecret() string { return s.secret }

// CertPEM returns the certificate of the simulator's authority.
func (s *Server) CertPEM() []byte { return slices.Clone(s.ca.pem) }

// CertPool returns a pool that trusts the simulator's authority alone.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ca.pem)
	return pool
}

// Add makes a person known, or replaces one of the same e-mail, which compares without case.
func (s *Server) Add(email string, script Script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people[strings.ToLower(email)] = &person{script: script, faulted: make([]int, len(script.Faults))}
}

// Script changes what a person does from now on; it is an error to script somebody who was never added.
func (s *Server) Script(email string, script Script) error {
	s.mu.Lock()
	_, known := s.people[strings.ToLower(email)]
	s.mu.Unlock()
	if !known {
		return fmt.Errorf("script %q: no such person", email)
	}
	s.Add(email, script)
	return nil
}

// Challenges returns every push that was sent, oldest first.
func (s *Server) Challenges() []Challenge {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Challenge, len(s.challenges))
	for i, c := range s.challenges {
		s.settleLocked(c)
		out[i] = c.Challenge
	}
	return out
}

// Requests returns every call that arrived, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ErrSettled says that a challenge was answered, or ran out, before.
var ErrSettled = errors.New("challenge is settled")

// Answer settles a challenge as the person's own hand would: "approve", "deny" or "fraud". Then it calls back.
func (s *Server) Answer(transaction, answer string) error {
	word, ok := map[string]string{"approve": "approved", "deny": "denied", "fraud": "fraud"}[answer]
	if !ok {
		return fmt.Errorf("answer %q: want approve, deny or fraud", answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.challengeLocked(transaction)
	if c == nil {
		return fmt.Errorf("answer %q: no such challenge", transaction)
	}
	if s.settleLocked(c); c.Status != pendingStatus {
		return ErrSettled
	}
	c.Status = word
	if s.deliver != nil {
		s.work.Go(func() { s.call(transaction, Callback{}) })
	}
	return nil
}

// CallbackTo delivers callbacks by POST to a URL. What comes back is not looked at.
func CallbackTo(client *http.Client, url string) func(context.Context, http.Header, []byte) {
	return func(ctx context.Context, header http.Header, body []byte) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return
		}
		r.Header = header.Clone()
		if resp, err := client.Do(r); err == nil {
			_ = resp.Body.Close() // nothing is read from it
		}
	}
}
