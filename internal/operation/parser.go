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
}

// Parser reads requests. It is safe for concurrent use.
type Parser struct {
	catalog    *catalog.Catalog
	key        []byte
	maxDecoded int64
	tokens     tokens
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
	if err := checkStart(r); err != nil {
		return Call{}, err
	}
	s := surface{host: r.Host}
	if api, ok := p.catalog.ByHost(r.Host); ok {
		s.api, s.sem = api, api.Semantics()
	}
	h, err := readHeader(r.Header, r.Host, s.sem.MethodHeaders...)
	if err != nil {
		return Call{}, err
	}
	t, err := readTarget(r.Target, &s.sem, false)
	if err != nil {
		return Call{}, err
	}
	if err := checkMethodOverride(t.query); err != nil {
		return Call{}, err
	}
	if s.mentionsBatch(t) && !s.isBatch(t) {
		return Call{}, refuse("the path has the batch endpoint in a place where it is not known")
	}
	octets, falseLabel, err := p.decodeContent(r.Body, h, s.sem.FoldCase)
	if err != nil {
		return Call{}, err
	}
	b, err := readBody(octets, h.contentType, bodyRules{fold: s.sem.FoldCase, upload: t.isUpload(&s.sem)})
	if err != nil {
		return Call{}, err
	}
	call := Call{API: s.name(), FalseEncoding: falseLabel, Digest: p.digest(r, h, t, octets)}
	whole := reading{method: r.Method, target: t, headers: h.forPolicy(), body: b, digest: call.Digest}
	if whole.override, err = h.methodOverride(r.Method, &s.sem); err != nil {
		return Call{}, err
	}
	if !s.isBatch(t) {
		call.Inputs = []policy.Input{s.input(whole)}
		return call, nil
	}
	call.Batch = true
	if call.Inputs, err = s.batchInputs(whole); err != nil {
		return Call{}, err
	}
	return call, nil
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
}

// input names one operation and makes the policy's document of it, secrets masked.
func (s *surface) input(r reading) policy.Input {
	op, secrets := s.operation(r)
	op.Batch = r.batch
	segments := r.target.shown(r.method, &s.sem)
	return policy.Input{
		Operation: op,
		Request: policy.Request{
			Method:   r.method,
			Host:     s.host,
			Path:     "/" + strings.Join(segments, "/"),
			Segments: segments,
			Query:    r.target.query,
			Headers:  r.headers,
			Body:     mask(r.body.value, secrets),
			BodyKind: r.body.kind,
			Digest:   r.digest,
		},
	}
}

// operation asks the catalog what the reading is. A host without a catalog has operations all the same.
func (s *surface) operation(r reading) (policy.Operation, [][]string) {
	var m catalog.Match
	if s.api != nil {
		m = s.match(catalog.Call{
			Method:   r.method,
			Segments: r.target.segments,
			Query:    r.target.query,
			Headers:  r.headers,
			Body:     r.body.value,
			BodyKind: r.body.kind,
		}, r.override)
		if m.Coverage != catalog.Listed && m.Coverage != catalog.None {
			m.Coverage = catalog.Unlisted
		}
	} else {
		m.Coverage = catalog.None
	}
	if m.Category == "" {
		m.Category = catalog.OrdinaryWrite
		if isRead(r.method) {
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
		Summary:   plain(m.Summary),
		Undone:    plain(m.Undone),
	}
	describe(&op, s.host, r)
	return op, m.Secrets
}

func isRead(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

func refuse(why string) error { return &Uninspectable{Why: why} }
