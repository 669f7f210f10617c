// Package traceless asks a person through Traceless, a service that reaches people by the authenticator they have. Its
// API is described to customers only, so that every detail of the wire is an option, and no default could be verified.
//
// The poll is the truth: nothing but a complete answer to it, about our own transaction, with a status that is listed
// as approved, is an approval. A callback only makes the next poll come sooner; what it says is not even read.
package traceless

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"countersign/providers"
)

var (
	_ providers.Verifier = (*Verifier)(nil)
	_ providers.Limiter  = (*Verifier)(nil)
	_ providers.Capable  = (*Verifier)(nil)
	_ providers.Caller   = (*Verifier)(nil)
	_ providers.Checker  = (*Verifier)(nil)
)

// Verifier asks people through Traceless. It is safe for concurrent use.
type Verifier struct {
	api                *client
	organization       string
	method             string
	start, poll, check request
	checkIsPoll        bool
	started, polled    fields
	statuses           map[string]string
	capabilities       []string
	interval           time.Duration
	now                func() time.Time
	log                *slog.Logger
	callback           callback
	seen               replays
	waiting            board
}

// Open returns a Verifier for one organization. It makes no call. All that is wrong with the options is in the error.
func Open(o Options) (*Verifier, error) {
	v := &Verifier{organization: strings.ToLower(o.Organization), method: o.PushMethod, interval: o.Interval, now: o.Now}
	var bad problems
	if !uuidShape.MatchString(o.Organization) {
		bad.add("organization", errors.New("want the organization's UUID"))
	}
	base, err := checkEndpoint(o.Endpoint, o.Organization)
	bad.add("endpoint", err)
	key, err := decodeSecret(o.SigningSecret, o.SecretEncoding)
	bad.add("signing_secret", err)
	if o.PushMethod != MicrosoftAuthenticator && o.PushMethod != DuoPush {
		bad.add("push_method", fmt.Errorf("%.40q: want %q or %q", o.PushMethod, MicrosoftAuthenticator, DuoPush))
	}
	v.parseTemplates(o, &bad)
	sign, err := newSigner(o.Signing, defaultSigning, key)
	bad.add("signing", err)
	bad.add("headers", checkHeaders(o.Headers, sign.Signing))
	v.callback, err = newCallback(o.Callback, key, o.SecretEncoding)
	bad.add("callback", err)
	if v.interval == 0 {
		v.interval = defaultInterval
	}
	if v.interval < time.Second || v.interval > time.Minute {
		bad.add("interval", errors.New("want one second to one minute"))
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	if v.now == nil {
		v.now = time.Now
	}
	if o.Name == "" {
		o.Name = "traceless"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	v.log = o.Logger.With(slog.String("provider", o.Name))
	v.api = newClient(o, base, sign, v.now)
	return v, nil
}

// parseTemplates checks whatever describes requests and answers.
func (v *Verifier) parseTemplates(o Options, bad *problems) {
	var err error
	v.start, err = parseStart(o.Start)
	bad.add("start", err)
	v.poll, err = parsePoll(o.Poll)
	bad.add("poll", err)
	v.check, v.checkIsPoll = v.poll, o.Check == Request{}
	if !v.checkIsPoll {
		v.check, err = parseRequest(o.Check.orDefault(Request{Method: http.MethodGet}))
		if err == nil {
			err = onlyKnown(v.check)
		}
		bad.add("check", err)
	}
	v.started, err = parseFields(o.Started)
	bad.add("started", err)
	v.polled, err = parseFields(o.Polled)
	bad.add("polled", err)
	v.statuses, err = parseStatuses(o.Statuses)
	bad.add("statuses", err)
	v.capabilities = slices.Clone(o.Capabilities)
	for _, c := range v.capabilities {
		if c != "text" {
			bad.add("capabilities", fmt.Errorf("%.40q is nothing that this provider can do: want text", c))
		} else if !v.start.uses("message") && !v.start.uses("title") {
			bad.add("capabilities", errors.New("text needs {message} or {title} in the body of start"))
		}
	}
}

func checkHeaders(headers map[string]string, s Signing) error {
	var bad []error
	for name, value := range headers {
		if err := checkHeader(name); err != nil {
			bad = append(bad, err)
		} else if strings.EqualFold(name, s.Header) || strings.EqualFold(name, s.TimestampHeader) {
			bad = append(bad, fmt.Errorf("%s belongs to the signature", name))
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			bad = append(bad, fmt.Errorf("the value of %.40q is not printable ASCII", name))
		}
	}
	return errors.Join(bad...)
}

// Capabilities returns what the operator saw prompts do; nothing by default, because how and whether the text that is
// sent with a challenge appears on a phone is not known.
func (v *Verifier) Capabilities() []string { return slices.Clone(v.capabilities) }

// Limit returns how long a challenge can be answered: five minutes from its start.
func (v *Verifier) Limit() time.Duration { return limit }

// nobody is a transaction that no service has.
const nobody = "00000000-0000-0000-0000-000000000000"

// Check tries endpoint, clock and signature without asking anybody: by a poll for a transaction that cannot be, which the
// service has to refuse as not found, unless the options name another request.
func (v *Verifier) Check(ctx context.Context) error {
	status, doc, err := v.api.call(ctx, "check", v.check, values{"organization": v.organization, "transaction": nobody})
	switch {
	case err != nil:
		return err
	case status == http.StatusOK && !v.checkIsPoll:
		return nil
	case status == http.StatusNotFound && v.checkIsPoll && v.polled.failure.text(doc) != "":
		return nil
	default:
		return &Error{Call: "check", Status: status}
	}
}
