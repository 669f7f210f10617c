package entra

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a Server is when its options do not say otherwise.
const (
	DefaultTenant       = "11111111-aaaa-4bbb-8ccc-000000000001"
	DefaultDomain       = "contoso.com"
	DefaultClientID     = "22222222-aaaa-4bbb-8ccc-000000000002"
	DefaultClientSecret = "sim~secret.Entra-0123456789" //nolint:gosec // of a simulated application
	KimID               = "44444444-aaaa-4bbb-8ccc-0000000000c1"
	LeeID               = "44444444-aaaa-4bbb-8ccc-0000000000c2"
)

// Applications and resources that every tenant shares.
const (
	MFAClientID       = "981f26a1-7f43-403b-a875-f8b09b8cd720" // Azure Multi-Factor Auth Client
	MFAConnectorID    = "1f5530b3-261a-47a9-b357-ded261e17918" // Azure Multi-Factor Auth Connector
	GraphID           = "00000003-0000-0000-c000-000000000000"
	ConnectorResource = "https://adnotifications.windowsazure.com/StrongAuthenticationService.svc/Connector"
	GraphResource     = "https://graph.microsoft.com"
)

const maxBody = 1 << 20

// Options say how the simulator differs from its defaults. The zero value is a tenant of two people, kim and lee
// @contoso.com, who have Authenticator, and of one application that may read what Countersign reads.
type Options struct {
	TenantID string
	Domains  []string // verified domains, usable as tenant names; the first is the default
	People   []Person
	Apps     []App
	// LoginURL, ConnectorURL and GraphURL are how each host names itself (issuer, endpoints, nextLink, AffinityUrl).
	// "" is whatever the request was addressed to.
	LoginURL, ConnectorURL, GraphURL string
	// ConnectorAudiences and GraphAudiences are resources taken besides those of Microsoft's clouds.
	ConnectorAudiences, GraphAudiences []string
	Propagation                        time.Duration // how long a credential added through Graph is unknown at login
	PromptLifetime                     time.Duration // 0: 60 s
	SessionLifetime                    time.Duration // 0: 3 min
	CodeLifetime                       time.Duration // authorization codes; 0: 10 min
	LogDelay                           time.Duration // from an answer to its sign-in log entry
	PageSize                           int           // of Graph's lists; 0: 100
	NoMFAClient                        bool          // the MFA client has no service principal yet
	MFAClientDisabled                  bool          // AADSTS7000112
	MFAConnectorDisabled               bool          // AADSTS500014
	NoPremium                          bool          // no Entra ID P1: sign-in logs answer 403
	RefuseReplay                       bool          // an assertion's jti is good once; Entra does not promise to check
	Now                                func() time.Time
}

// Host is one of the services.
type Host uint8

// The hosts. Any matches every host in a Fault.
const (
	Any Host = iota
	Login
	Connector
	Graph
)

// Request is one request as it arrived.
type Request struct {
	Host   Host
	Method string
	Path   string // escaped, as sent
	Query  string
	Header http.Header
	Body   []byte // before Content-Encoding is undone
	Status int    // of the answer; 0 when a fault spoilt it
	At     time.Time
}

// Server is the simulator. It owns no listener and no goroutine: mount its handlers.
type Server struct {
	o    Options
	now  func() time.Time
	keys *signer                 // of the login service
	evil func() (*signer, error) // a key that JWKS does not list; made when it is first needed

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced whenever a push or a request comes or changes
	people   []*person
	apps     []*app
	sessions map[string]*session
	order    []*session
	codes    map[string]*grant
	pending  map[string]*grant // sign-in pages that are open
	cookies  map[string]browser
	signIns  []SignIn // queued
	always   *SignIn
	logs     []logEntry
	jtis     map[string]bool
	faults   []*armed
	requests []Request
}

// New makes a Server.
func New(o Options) (*Server, error) {
	o.TenantID = strings.ToLower(cmp.Or(o.TenantID, DefaultTenant))
	o.PromptLifetime = cmp.Or(o.PromptLifetime, time.Minute)
	o.SessionLifetime = cmp.Or(o.SessionLifetime, 3*time.Minute)
	o.CodeLifetime = cmp.Or(o.CodeLifetime, 10*time.Minute)
	o.PageSize = cmp.Or(o.PageSize, 100)
	if len(o.Domains) == 0 {
		o.Domains = []string{DefaultDomain}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		o: o, now: o.Now, changed: make(chan struct{}), sessions: map[string]*session{}, codes: map[string]*grant{},
		pending: map[string]*grant{}, cookies: map[string]browser{}, jtis: map[string]bool{},
		evil: sync.OnceValues(newSigner),
	}
	var err error
	if s.keys, err = newSigner(); err != nil {
		return nil, err
	}
	if o.People == nil {
		o.People = []Person{
			{ID: KimID, UPN: "kim@" + o.Domains[0], DisplayName: "Kim Kowalski"},
			{ID: LeeID, UPN: "lee@" + o.Domains[0], DisplayName: "Lee Larsen"},
		}
	}
	for _, p := range o.People {
		if err := s.AddPerson(p); err != nil {
			return nil, err
		}
	}
	if o.Apps == nil {
		o.Apps = []App{{ClientID: DefaultClientID, DisplayName: "Countersign", Secrets: []string{DefaultClientSecret}, Roles: ReadRoles()}}
	}
	for _, a := range append(s.firstParty(), o.Apps...) {
		if err := s.AddApp(a); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) firstParty() []App {
	apps := []App{
		{ClientID: GraphID, DisplayName: "Microsoft Graph"},
		{ClientID: MFAConnectorID, DisplayName: "Azure Multi-Factor Auth Connector", Disabled: s.o.MFAConnectorDisabled},
	}
	if !s.o.NoMFAClient {
		apps = append(apps, App{ClientID: MFAClientID, DisplayName: "Azure Multi-Factor Auth Client", Disabled: s.o.MFAClientDisabled})
	}
	return apps
}

// TenantID returns the tenant's id.
func (s *Server) TenantID() string { return s.o.TenantID }

// Login answers for the login host.
func (s *Server) Login() http.Handler { return s.host(Login, s.login) }

// Connector answers for both Connector hosts.
func (s *Server) Connector() http.Handler { return s.host(Connector, s.connector) }

// Graph answers for the Graph host.
func (s *Server) Graph() http.Handler { return s.host(Graph, s.graph) }

// Handler answers for all hosts on one address, told apart by path.
func (s *Server) Handler() http.Handler {
	login, connector, graph := s.Login(), s.Connector(), s.Graph()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch first, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/"); strings.ToLower(first) {
		case "strongauthenticationservice.svc":
			connector.ServeHTTP(w, r)
		case "v1.0", "beta":
			graph.ServeHTTP(w, r)
		default:
			login.ServeHTTP(w, r)
		}
	})
}

// host reads the body, records the request and lets faults at it before answer gets it.
func (s *Server) host(h Host, answer func(http.ResponseWriter, *http.Request, []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		i := s.record(Request{
			Host: h, Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header.Clone(), Body: body, At: s.now(),
		})
		if err != nil {
			http.Error(w, "body not read", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		out := &statusWriter{ResponseWriter: w}
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.requests[i].Status = out.status
			s.wakeLocked()
		}()
		s.faulty(h, out, r, body, answer)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = cmp.Or(w.status, status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (s *Server) record(r Request) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	s.wakeLocked()
	return len(s.requests) - 1
}

// Requests returns what arrived so far at a host, in order of arrival.
func (s *Server) Requests(h Host) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r Request) bool { return h != Any && r.Host != h })
}

// Received returns the requests whose path ends in suffix, compared without case.
func (s *Server) Received(h Host, suffix string) []Request {
	return slices.DeleteFunc(s.Requests(h), func(r Request) bool {
		return !strings.HasSuffix(strings.ToLower(r.Path), strings.ToLower(suffix))
	})
}

// AwaitRequests waits until n requests to paths that end in suffix have arrived, whatever became of them.
func (s *Server) AwaitRequests(ctx context.Context, h Host, suffix string, n int) error {
	return s.await(ctx, func() bool { return len(s.Received(h, suffix)) >= n })
}

// await waits until done, looking again at each change.
func (s *Server) await(ctx context.Context, done func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("entra simulator: wait: %w", context.Cause(ctx))
		}
	}
}

func (s *Server) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// base is how a host names itself.
func base(fixed string, r *http.Request) string {
	if fixed != "" {
		return strings.TrimRight(fixed, "/")
	}
	if r.TLS == nil {
		return "http://" + r.Host
	}
	return "https://" + r.Host
}

// knows says whether a path's tenant is this one. aliases are taken where any tenant will do.
func (s *Server) knows(tenant string, aliases ...string) bool {
	tenant = strings.ToLower(tenant)
	return tenant == s.o.TenantID || slices.ContainsFunc(append(aliases, s.o.Domains...), func(d string) bool { return strings.EqualFold(d, tenant) })
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
