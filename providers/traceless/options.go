package traceless

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"countersign/providers"
)

// The push methods, as Traceless names them to administrators.
const (
	MicrosoftAuthenticator = "Microsoft Authenticator"
	DuoPush                = "Duo Push"
)

// Fields say where in an answer things are, as JSON Pointers (RFC 6901). An empty one means its default. Organization,
// Email and Method are compared with ours where they are there; "-" compares nothing.
type Fields struct {
	ID           string // the service's id of the transaction
	Status       string // a string or a boolean
	Organization string
	Email        string
	Method       string
	Error        string // is there, as a string, only when a request was refused
}

// Callback says what a callback looks like. An empty field means its default.
type Callback struct {
	Signing      Signing
	Secret       Secret        // "": the signing secret
	Tolerance    time.Duration // how far its time may be from ours, at most 5 minutes
	ID           string        // JSON Pointer
	Organization string        // JSON Pointer; compared where it is there; "-" compares nothing
}

// Options configure a Verifier. Endpoint, Organization, SigningSecret and PushMethod are needed. Everything about the
// wire has a default that nobody could verify: no description of the API is public as text.
type Options struct {
	Name           string // of the provider in the configuration, for logs; "" is "traceless"
	Endpoint       string // API endpoint as Traceless shows it, https; a last segment that is the organization is cut off
	Organization   string // UUID
	SigningSecret  Secret
	SecretEncoding string // how the key is written in the secret: text (also ""), hex or base64
	PushMethod     string // MicrosoftAuthenticator or DuoPush

	Start, Poll Request           // empty fields mean defaults
	Check       Request           // zero: a poll for a transaction that cannot be
	Headers     map[string]string // further headers of every request
	Signing     Signing
	Started     Fields            // in the answer to Start
	Polled      Fields            // in the answer to Poll
	Statuses    map[string]string // status → outcome, exactly as written; empty: the defaults, else instead of them
	Callback    Callback
	// Capabilities is what the operator saw prompts do. Only "text" is known, and only where Start's body has {message}
	// or {title}.
	Capabilities []string

	Interval time.Duration    // between polls; 0: 3 s
	RootCAs  *x509.CertPool   // nil: the system's
	Logger   *slog.Logger     // nil: no log
	Now      func() time.Time // nil: time.Now; stamps and signs

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests only
}

// The defaults. docs/providers/traceless.md says where each comes from.
var (
	defaultStart = Request{Method: http.MethodPost, Path: "/{organization}/mfa",
		Body: `{"email":"{email}","method":"{method}","message":"{message}","reference":"{hold}"}`}
	defaultPoll     = Request{Method: http.MethodGet, Path: "/{organization}/mfa/{transaction}", Body: none}
	defaultSigning  = Signing{Header: "X-Traceless-Signature", TimestampHeader: "X-Traceless-Timestamp", Timestamp: "unix", Encoding: "hex", Pieces: []string{"timestamp", "method", "path", "body"}, Separator: "\n"}
	defaultCallback = Signing{Header: "X-Traceless-Signature", TimestampHeader: "X-Traceless-Timestamp", Timestamp: "unix", Encoding: "hex", Pieces: []string{"timestamp", "body"}, Separator: "."}
	defaultFields   = Fields{ID: "/transaction_id", Status: "/status", Organization: "/organization", Email: "/email", Method: "/method", Error: "/error"}
	// Words that only say that a challenge is over, such as "completed", are not among them: over is not approved.
	defaultStatuses = map[string]string{
		"approved": "approved", "denied": "denied", "rejected": "denied", "declined": "denied", "expired": "timed_out",
		"timeout": "timed_out", "timed_out": "timed_out", "fraud": "fraud", "reported_fraud": "fraud",
		"not_enrolled": "not_enrolled", "user_not_found": "not_enrolled", "locked_out": "locked_out",
		"pending": pending, "sent": pending, "waiting": pending,
	}
)

const (
	pending          = "pending"
	defaultInterval  = 3 * time.Second
	defaultTolerance = 5 * time.Minute
)

var (
	uuidShape = regexp.MustCompile(`^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$`)
	idShape   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)
)

// problems collects what is wrong with Options, so that all of it is said at once.
type problems []error

func (p *problems) add(key string, err error) {
	if err != nil {
		*p = append(*p, fmt.Errorf("traceless: %s: %w", key, err))
	}
}

func checkEndpoint(endpoint, organization string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("not a URL") // the parser would quote it
	}
	switch {
	case endpoint == "" || u.Hostname() == "" || u.Opaque != "" || u.User != nil || strings.ContainsAny(endpoint, "?#"):
		return nil, errors.New("want a URL such as https://api.example.com/v1, with neither user nor query")
	case u.Scheme == "http" && loopback(u.Hostname()):
	case u.Scheme != "https":
		return nil, errors.New("want https; http is only for this machine's own addresses")
	}
	base := strings.TrimSuffix(u.EscapedPath(), "/")
	if before, last, ok := cutLast(base); ok && organization != "" && strings.EqualFold(last, organization) {
		base = before
	}
	if base != "" {
		if err := checkPath(base, ""); err != nil || strings.ContainsAny(base, "{}") {
			return nil, errors.New("the path is badly escaped, or has empty, . or .. segments")
		}
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: base}, nil // Path holds the escaped form; only client reads it
}

func cutLast(path string) (before, last string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", "", false
	}
	return path[:i], path[i+1:], true
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

func decodeSecret(s Secret, encoding string) (key []byte, err error) {
	if s == "" || strings.TrimSpace(string(s)) != string(s) || strings.ContainsFunc(string(s), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("missing, or with spaces or control characters around or in it")
	}
	switch encoding {
	case "", "text":
		key = []byte(s)
	case "hex":
		key, err = hex.DecodeString(string(s))
	case "base64":
		key, err = base64.StdEncoding.DecodeString(string(s))
	default:
		return nil, fmt.Errorf("secret_encoding is %q: want text, hex or base64", encoding)
	}
	if err != nil {
		return nil, fmt.Errorf("not %s", encoding) // the decoder would quote a piece of it
	}
	if len(key) < 8 {
		return nil, errors.New("shorter than 8 bytes")
	}
	return key, nil
}

// orDefault fills what is empty.
func (r Request) orDefault(d Request) Request {
	if r.Method == "" {
		r.Method = d.Method
	}
	if r.Path == "" {
		r.Path = d.Path
	}
	if r.Body == "" {
		r.Body = d.Body
	}
	return r
}

func parseStart(r Request) (request, error) {
	q, err := parseRequest(r.orDefault(defaultStart))
	switch {
	case err != nil:
	case q.method == http.MethodGet:
		err = errors.New("method: GET may be repeated by whatever stands in between, so it cannot ask anybody")
	case q.uses("transaction"):
		err = errors.New("{transaction} is not known before the answer")
	case !slices.Contains(q.names, "email"):
		err = errors.New("body: {email} is missing, so that nobody would be named")
	}
	return q, err
}

func parsePoll(r Request) (request, error) {
	q, err := parseRequest(r.orDefault(defaultPoll))
	if err == nil {
		err = onlyKnown(q)
	}
	if err == nil && !q.uses("transaction") {
		err = errors.New("{transaction} is missing")
	}
	return q, err
}

func onlyKnown(q request) error {
	for _, name := range q.names {
		if !slices.Contains(pathNames, name) {
			return fmt.Errorf("{%s} is only known when a challenge starts", name)
		}
	}
	return nil
}

// fields are parsed Fields.
type fields struct{ id, status, organization, email, method, failure pointer }

func parseFields(f Fields) (fields, error) {
	var out fields
	var bad []error
	for _, x := range []struct {
		name, have, fallback string
		to                   *pointer
		optional             bool
	}{
		{"id", f.ID, defaultFields.ID, &out.id, false}, {"status", f.Status, defaultFields.Status, &out.status, false},
		{"organization", f.Organization, defaultFields.Organization, &out.organization, true},
		{"email", f.Email, defaultFields.Email, &out.email, true}, {"method", f.Method, defaultFields.Method, &out.method, true},
		{"error", f.Error, defaultFields.Error, &out.failure, true},
	} {
		if x.have == none && x.optional {
			continue
		}
		if x.have == "" {
			x.have = x.fallback
		}
		p, err := parsePointer(x.have)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", x.name, err))
		}
		*x.to = p
	}
	return out, errors.Join(bad...)
}

// verdicts are the outcomes that a status can mean, besides pending.
var verdicts = map[string]providers.Verdict{
	"approved": providers.Approved, "denied": providers.Denied, "timed_out": providers.TimedOut,
	"fraud": providers.Fraud, "not_enrolled": providers.NotEnrolled, "locked_out": providers.LockedOut,
}

func parseStatuses(in map[string]string) (map[string]string, error) {
	if len(in) == 0 {
		in = defaultStatuses
	}
	out := make(map[string]string, len(in))
	var bad []error
	approves, waits := false, false
	for status, outcome := range in {
		if _, ok := verdicts[outcome]; !ok && outcome != pending {
			bad = append(bad, fmt.Errorf("%.40q means %.40q: want approved, denied, timed_out, fraud, not_enrolled, locked_out or pending", status, outcome))
		}
		if status == "" || len(status) > 100 || strings.TrimSpace(status) != status {
			bad = append(bad, fmt.Errorf("%.40q is empty, too long or has spaces around it", status))
		}
		approves, waits = approves || outcome == "approved", waits || outcome == pending
		out[status] = outcome
	}
	if !approves || !waits {
		bad = append(bad, errors.New("want at least one status for approved and one for pending"))
	}
	return out, errors.Join(bad...)
}
