// Package duo simulates the Duo Auth API v2 as it looks on the wire: signatures, envelopes, codes, long polls and the
// ways in which it disappoints. It imports nothing else of this module, so that a mistake shared with the client that
// it tests would show. It stands in for the service in tests and in the demonstration; it protects nobody.
package duo

import (
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
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say how the simulator differs from its defaults. The zero value is a working server.
type Options struct {
	IntegrationKey string           // made up when empty
	SecretKey      string           // made up when empty
	Listener       net.Listener     // nil: a free port of 127.0.0.1
	Names          []string         // further names and addresses that the certificate is good for
	Now            func() time.Time // nil: time.Now; after moving it by hand, call Tick
	Lifetime       time.Duration    // how long a push can be answered; 0: the 60 s of the service
	LongPoll       time.Duration    // how long auth_status waits for news; 0: 10 s
}

// Server is a running simulator.
type Server struct {
	ikey, skey         string
	now                func() time.Time
	lifetime, longPoll time.Duration
	host               string
	ca                 authority
	http               *http.Server
	done               chan struct{}
	served             sync.WaitGroup
	close              sync.Once

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever a push changes
	people   map[string]*person
	pushes   []*push
	codes    map[string]code // by the txid that preauth gave with it; each is good for one push
	requests []Request
}

// Request is one call that arrived, signed well or not.
type Request struct {
	Method, Path  string
	Params        url.Values
	Signature     string // "v2", "v5" or "" when it did not verify
	Status        int    // of the answer; 0 when a fault spoilt it or the caller left
	ContentLength int64  // -1: chunked
	At            time.Time
}

// Start serves the API over TLS, under a certificate of the simulator's own authority.
func Start(o Options) (*Server, error) {
	s := &Server{
		ikey: cmp.Or(o.IntegrationKey, "DI"+rand.Text()[:18]), skey: cmp.Or(o.SecretKey, rand.Text()+rand.Text()[:14]),
		now: o.Now, lifetime: cmp.Or(o.Lifetime, time.Minute), longPoll: cmp.Or(o.LongPoll, 10*time.Second),
		done: make(chan struct{}), changed: make(chan struct{}), people: map[string]*person{}, codes: map[string]code{},
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
	s.host = ln.Addr().String()
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.ca.leaf}, MinVersion: tls.VersionTLS12},
		ErrorLog:  log.New(discard{}, "", 0), // aborted connections are part of the script
	}
	s.served.Go(func() { _ = s.http.ServeTLS(ln, "", "") }) // ends with Close
	return s, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Close ends the server, with every open connection and long poll.
func (s *Server) Close() error {
	err := error(nil)
	s.close.Do(func() {
		close(s.done)
		err = s.http.Close()
	})
	s.served.Wait()
	return err
}

// Host returns what a client has to be given as the API host, with the port.
func (s *Server) Host() string { return s.host }

// CertPEM returns the certificate of the simulator's authority.
func (s *Server) CertPEM() []byte { return slices.Clone(s.ca.pem) }

// CertPool returns a pool that trusts the simulator's authority alone.
func (s *Server) CertPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ca.pem)
	return pool
}

// IntegrationKey returns the key that clients name themselves with.
func (s *Server) IntegrationKey() string { return s.ikey }

// SecretKey returns the key that clients sign with.
func (s *Server) SecretKey() string { return s.skey }

// Add enrols a person, or replaces one of the same name. Usernames compare without case, as Duo's do.
func (s *Server) Add(p Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.people[strings.ToLower(p.Username)] = newPerson(p)
}

// Script changes what a person does from now on; it is an error to script somebody who was never added.
func (s *Server) Script(username string, script Script) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.people[strings.ToLower(username)]
	if !ok {
		return fmt.Errorf("script %q: no such person", username)
	}
	p.script, p.faulted = script, make([]int, len(script.Faults))
	return nil
}

// Pushes returns every push that was sent, oldest first.
func (s *Server) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Push, len(s.pushes))
	for i, p := range s.pushes {
		s.settleLocked(p)
		out[i] = p.view()
	}
	return out
}

// Requests returns every call that arrived, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ErrSettled says that a push was answered, or ran out, before.
var ErrSettled = errors.New("push is settled")

// ErrCode says that a verified push was approved without the code that it asks for. It stays as it was.
var ErrCode = errors.New("push asks for its code")

// Answer settles a push as the person's own hand would: "approve", "deny" or "fraud". A verified push takes an approval
// from AnswerCode only.
func (s *Server) Answer(txid, answer string) error { return s.AnswerCode(txid, answer, "") }

// AnswerCode settles a push as Answer does, with what the person typed into the phone.
func (s *Server) AnswerCode(txid, answer, typed string) error {
	result, status := "deny", answer
	switch answer {
	case "approve":
		result, status = "allow", "allow"
	case "deny", "fraud":
	default:
		return fmt.Errorf("answer %q: want approve, deny or fraud", answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pushLocked(txid)
	if p == nil {
		return fmt.Errorf("answer %q: no such push", txid)
	}
	if s.settleLocked(p); p.final() {
		return ErrSettled
	}
	if answer == "approve" && p.Verified && typed != p.code {
		return ErrCode
	}
	p.set(result, status)
	s.wakeLocked()
	return nil
}

// Tick makes everything that waits look at the clock again, for a clock that is moved by hand.
func (s *Server) Tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked()
}

func (s *Server) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) record(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
}
