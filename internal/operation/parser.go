package operation

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/catalog"
	"countersign/policy"
)

// defaultMaxDecoded bounds a body after content decoding where Options say nothing (design §6.2, limits.body).
const defaultMaxDecoded = 10 << 20

// defaultBatchMax is what Graph documents; it stands in where a catalog names a batch endpoint without a limit.
const defaultBatchMax = 20

// Options configure New.
type Options struct {
	Catalog    *catalog.Catalog
	Key        []byte // of the keyed hash that stands for opaque credentials; random when empty, so digests then end with the process
	MaxDecoded int64  // largest body after content decoding; 0 is 10 MiB

	// OwnClients are the ids of the applications by which the sidecar itself verifies people. A request for a token that names
	// one is the operation auth.token.verification_backend.
	OwnClients []string
}

// Parser reads requests. It is safe for concurrent use.
type Parser struct {
	catalog    *catalog.Catalog
	key        []byte
	maxDecoded int64
	tokens     tokens
	own        []string // lower case
}

// New makes a Parser. It needs a catalog.
func New(o Options) (*Parser, error) {
	if o.Catalog == nil {
		return nil, errors.New("operation: no catalog")
	}
	if o.MaxDecoded < 0 {
		return nil, errors.New("operation: MaxDecoded is negative")
	}
	p := &Parser{catalog: o.Catalog, key: slices.Clone(o.Key), maxDecoded: o.MaxDecoded}
	for _, id := range o.OwnClients {
		if id = strings.ToLower(strings.TrimSpace(id)); id != "" {
			p.own = append(p.own, id)
		}
	}
	if p.maxDecoded == 0 {
		p.maxDecoded = defaultMaxDecoded
	}
	if len(p.key) == 0 {
		p.key = make([]byte, 32)
		if _, err := rand.Read(p.key); err != nil {
			return nil, fmt.Errorf("operation: make a key: %w", err)
		}
	}
	return p, nil
}

// Parse reads one request into the operations it asks for, and digests it. Whatever has no single reading is an error
// of type *Uninspectable; there is no other.
func (p *Parser) Parse(r Request) (Call, error) {
	c, err := p.parse(r)
	if u, ok := errors.AsType[*Uninspectable](err); ok {
		return Call{}, &Uninspectable{Why: u.Why, Resembles: p.Resembles(r)}
	}
	return c, err
}

func (p *Parser) parse(r Request) (Call, error) {
	if err := checkStart(r); err != nil {
		return Call{}, err
	}
	s := surface{host: r.Host}
	if api, ok := p.catalog.ByHost(r.Host); ok {
		s.api, s.sem = api, api.Semantics()
	}
	h, err := readHeader(r.Header, r.Host, r.Method, s.sem.MethodHeaders...)
	if err != nil {
		return Call{}, err
	}
	t, err := p.locate(r.Target, &s)
	if err != nil {
		if call, ok := p.cleanRead(r, h, &s); ok {
			return call, nil
		}
		return Call{}, err
	}
	if err := checkMethodOverride(t.query); err != nil {
		return Call{}, err
	}
	if len(t.segments) > 0 && slices.ContainsFunc(s.sem.Unreadable, func(first string) bool { return strings.EqualFold(first, t.segments[0]) }) {
		return Call{}, refuse("the request carries a remote session, which cannot be read")
	}
	if s.mentionsBatch(t) && !s.isBatch(t) {
		return Call{}, refuse("the path has the batch endpoint in a place where it is not known")
	}
	b, octets, falseLabel, err := p.content(r, h, t, &s)
	if err != nil {
		return Call{}, err
	}
	s.own = p.namesOwnClient(t, h, b, &s.sem)
	call := Call{API: s.name(), FalseEncoding: falseLabel, Digest: p.digest(r, h, t, &s.sem, octets)}
	call.SignedAt, call.SignedUntil = signingTimes(h, t, &s.sem)
	whole := reading{method: r.Method, target: t, headers: h.forPolicy(), body: b, digest: call.Digest}
	if whole.override, err = h.methodOverride(r.Method, &s.sem); err != nil {
		return Call{}, err
	}
	if s.isBatch(t) {
		call.Batch = true
		call.Inputs, err = s.batchInputs(whole)
		return call, err
	}
	readings, err := s.unfold(whole)
	if err != nil {
		return Call{}, err
	}
	call.Batch = len(readings) > 1
	for i, one := range readings {
		if call.Batch {
			one.batch = &policy.Batch{Index: i, Size: len(readings)}
		}
		call.Inputs = append(call.Inputs, s.input(one))
	}
	return call, nil
}

// locate reads the target, and on a host that no API owns finds the API that lives under its path. A customer's host that speaks
// an API may have it there too.
func (p *Parser) locate(raw string, s *surface) (target, error) {
	t, err := readTarget(raw, &s.sem, false)
	if err != nil {
		return t, err
	}
	if s.api != nil {
		if p.catalog.Customer(s.host) {
			if api, segments, ok := p.catalog.ByPath(t.segments); ok && api == s.api {
				t.segments = segments
			}
		}
		return t, nil
	}
	api, segments, ok := p.catalog.ByPath(t.segments)
	if !ok {
		return t, nil
	}
	s.api, s.sem = api, api.Semantics()
	if t, err = readTarget(raw, &s.sem, false); err != nil { // now with the API's own rules for a query
		return target{}, err
	}
	t.segments = segments
	return t, nil
}

// content reads the body. A file on its way into a store is neither decoded nor looked into.
func (p *Parser) content(r Request, h header, t target, s *surface) (b body, octets []byte, falseLabel bool, err error) {
	if s.isObject(r.Method, t) {
		if int64(len(r.Body)) > p.maxDecoded {
			return body{}, nil, false, refuse("the body is larger than the limit")
		}
		return body{kind: kindBinary}, r.Body, false, nil
	}
	if octets, falseLabel, err = p.decodeContent(r.Body, h, s.sem.FoldCase); err != nil {
		return body{}, nil, false, err
	}
	b, err = readBody(octets, h.contentType, bodyRules{fold: s.sem.FoldCase, upload: t.isUpload(&s.sem)})
	return b, octets, falseLabel, err
}

// checkStart refuses what no listener should have let through; Parse does not rely on them.
func checkStart(r Request) error {
	switch {
	case !isMethod(r.Method):
		return refuse("the method is not an upper-case word") // RFC 9110 §9.1: methods are case-sensitive, servers are not all
	case r.Scheme != "https":
		return refuse("the scheme is not https")
	case !isCanonicalHost(r.Host):
		return refuse("the host is not in canonical form")
	default:
		return nil
	}
}

func isMethod(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= 32 && s != "CONNECT" && s != "TRACE"
}

// surface is the API that a request speaks to, and how its servers read.
type surface struct {
	host string
	api  *catalog.API // nil: no API owns the host
	sem  catalog.Semantics
	own  bool // the request names an application of the sidecar's own
}

func (s *surface) name() string {
	if s.api == nil {
		return ""
	}
	return s.api.Name()
}

// reading is one operation as it was read, before the catalog has named it.
type reading struct {
	method  string
	target  target
	headers map[string][]string
	body    body
	digest  policy.Digest
	batch   *policy.Batch

	override string // the method that a header puts in the place of POST
	named    *named // where the operation is named elsewhere than by method and path
}

// named is what the catalog matches in place of method and path: the names that the API's servers go by.
type named struct {
	method   string
	segments []string
	args     any // what the operation is given, where that is not the body as it stands: for conditions and parameters
}

// places are the names by which a person is told of a call that the catalog has no words for.
func (r *reading) places() []string {
	if r.named == nil || r.named.segments[0] == awsREST || r.named.segments[0] == awsObjects {
		return r.target.segments
	}
	return r.named.segments
}

// input names one operation and makes the policy's document of it, secrets masked.
func (s *surface) input(r reading) policy.Input {
	op, secrets := s.operation(r)
	op.Batch = r.batch
	shown := r.body.value
	if r.named != nil && r.named.args != nil {
		shown = r.named.args
	}
	segments := r.target.shown(r.method, &s.sem)
	return policy.Input{
		Operation: op,
		Request: policy.Request{
			Method:   r.method,
			Host:     s.host,
			Path:     "/" + strings.Join(segments, "/"),
			Segments: segments,
			Query:    s.maskQuery(r.target.query),
			Headers:  r.headers,
			Body:     mask(shown, secrets),
			BodyKind: r.body.kind,
			Digest:   r.digest,
		},
	}
}

// operation asks the catalog what the reading is. A host without a catalog has operations all the same.
func (s *surface) operation(r reading) (policy.Operation, [][]string) {
	var m catalog.Match
	c := catalog.Call{
		Method: r.method, Segments: r.target.segments, Query: r.target.query, Headers: r.headers, Body: r.body.value, BodyKind: r.body.kind,
	}
	if r.named != nil {
		c.Method, c.Segments = r.named.method, r.named.segments
		if r.named.args != nil {
			c.Body = r.named.args
		}
	}
	if s.api != nil {
		m = s.match(c, r.override)
		if m.Coverage != catalog.Listed && m.Coverage != catalog.None {
			m.Coverage = catalog.Unlisted
		}
	} else {
		m.Coverage = catalog.None
	}
	if m.Category == "" {
		m.Category = catalog.OrdinaryWrite
		if isRead(c.Method) {
			m.Category = catalog.Read
		}
	}
	op := policy.Operation{
		API:       s.name(),
		Name:      m.Name,
		Category:  m.Category,
		Catalog:   m.Coverage,
		Resource:  policy.Resource{Type: m.ResourceType, ID: m.ResourceID},
		Params:    m.Params,
		Sensitive: m.Sensitive,
		Also:      m.Also,
		Summary:   plain(m.Summary),
		Undone:    plain(m.Undone),

		ChangesFactor: m.ChangesFactor,
	}
	describe(&op, s.host, r)
	if s.own {
		disowned(&op)
	}
	return op, m.Secrets
}

func isRead(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

func refuse(why string) error { return &Uninspectable{Why: why} }
