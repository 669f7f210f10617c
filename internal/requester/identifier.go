package requester

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"countersign/policy"
)

// What Options.Trust accepts.
const (
	TrustAttested = "attested" // only a signed assertion names a requester
	TrustAsserted = "asserted" // a plain header does too, where no assertion is presented
)

// Options is what New needs. Without Issuer, Audience and JWKS every assertion is invalid; with one of them all are
// required.
type Options struct {
	Trust        string         // TrustAttested, also when empty, or TrustAsserted
	Issuer       string         // iss, exactly
	Audience     string         // must be aud, or in it
	JWKS         string         // https URL (http for loopback only) or file
	MaxAge       time.Duration  // longest exp - iat; zero: one hour
	RootCAs      *x509.CertPool // for a JWKS URL; nil: the system's
	HTTPClient   *http.Client   // instead of one of our own; RootCAs is not used then
	Now          func() time.Time
	Logger       *slog.Logger
	DefaultAgent string // the agent's name where no assertion says one
}

// Identifier establishes who a request is made for. It is safe for concurrent use.
type Identifier struct {
	asserted bool
	agent    string
	now      func() time.Time
	verifier *verifier // nil: no assertion source is configured
}

// New returns an Identifier. It does not wait for keys: until they are there, assertions are invalid.
func New(o Options) (*Identifier, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	id := &Identifier{agent: o.DefaultAgent, now: o.Now}
	switch o.Trust {
	case "", TrustAttested:
	case TrustAsserted:
		id.asserted = true
	default:
		return nil, fmt.Errorf("requester: trust is %q, want %s or %s", o.Trust, TrustAttested, TrustAsserted)
	}
	if o.MaxAge < 0 {
		return nil, errors.New("requester: negative max age")
	}
	if o.Issuer == "" && o.Audience == "" && o.JWKS == "" {
		return id, nil
	}
	if o.Issuer == "" || o.Audience == "" || o.JWKS == "" {
		return nil, errors.New("requester: issuer, audience and jwks go together")
	}
	keys, err := openKeys(o)
	if err != nil {
		return nil, err
	}
	if o.MaxAge == 0 {
		o.MaxAge = time.Hour
	}
	id.verifier = &verifier{issuer: o.Issuer, audience: o.Audience, maxAge: o.MaxAge, keys: keys}
	return id, nil
}

// Ready returns nil when assertions can be verified, or none are expected.
func (i *Identifier) Ready() error {
	if i.verifier == nil {
		return nil
	}
	if keys, err := i.verifier.keys.current(); keys == nil {
		return fmt.Errorf("requester: no keys: %w", err)
	}
	return nil
}

// Close ends the refreshing of keys.
func (i *Identifier) Close() error {
	if i.verifier != nil {
		i.verifier.keys.close()
	}
	return nil
}

// Identify says who a request is made for. connect is the header of the CONNECT request whose tunnel it came through, if
// there is one; its credential counts as if it were the request's own, and is judged now. Header names are in
// net/http's canonical form. Whatever does not hold makes the requester nobody.
func (i *Identifier) Identify(ctx context.Context, request, connect http.Header) Identity {
	tokens, why := carried(request, connect)
	switch {
	case why != "":
		return i.nobody(true, why)
	case len(tokens) > 0:
		id := i.attested(ctx, tokens)
		if name, _, why := plain(request, connect); i.asserted && (why != "" || name != "" && name != id.Subject.Requester.ID) {
			return i.nobody(true, "an assertion and a plain header name different people")
		}
		return id
	}
	name, ticket, why := plain(request, connect)
	switch {
	case why != "":
		return i.nobody(true, why)
	case name == "":
		return i.nobody(false, "")
	case !i.asserted:
		return i.nobody(true, "a plain requester header is not accepted")
	}
	id := i.nobody(true, "")
	id.Subject.Ticket = ticket
	id.Subject.Requester.ID = name
	id.Subject.Requester.Assurance = policy.AssuranceAsserted
	return id
}

func (i *Identifier) nobody(presented bool, why string) Identity {
	return Identity{
		Subject:   policy.Subject{Agent: i.agent, Requester: policy.Requester{Claims: map[string]any{}}},
		Presented: presented,
		Why:       why,
	}
}

// attested verifies every token that was presented. All must hold and name one person. One exception: the credential of
// a tunnel may have expired since, if the request carries a fresh one for the same person.
func (i *Identifier) attested(ctx context.Context, tokens []token) Identity {
	if i.verifier == nil {
		return i.nobody(true, "no issuer of assertions is configured")
	}
	var found *assertion
	var stale error
	for _, t := range tokens {
		a, err := i.verifier.verify(ctx, t.text)
		if err == nil {
			err = a.timely(i.now(), i.verifier.maxAge)
		}
		switch {
		case errors.Is(err, errExpired) && t.tunnel:
			stale = err
		case err != nil:
			return i.nobody(true, err.Error())
		}
		if found != nil && !found.samePerson(a) {
			return i.nobody(true, "two assertions name different people")
		}
		if err == nil && (found == nil || found.expired) {
			found = a
		} else if found == nil {
			expired := *a
			expired.expired = true
			found = &expired
		}
	}
	if found.expired {
		return i.nobody(true, stale.Error())
	}
	id := found.identity()
	if id.Subject.Agent == "" {
		id.Subject.Agent = i.agent
	}
	return id
}
