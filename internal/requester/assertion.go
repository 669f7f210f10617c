package requester

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"countersign/policy"
)

const (
	leeway    = 30 * time.Second
	maxPerson = 320 // RFC 3696 §3: the longest address there is
	maxText   = 256
)

// Reasons why an assertion does not hold. Their texts reach the log, so they say nothing of its content.
var (
	errExpired  = errors.New("the assertion has expired")
	errEarly    = errors.New("the assertion is not valid yet")
	errLifetime = errors.New("the assertion lives too long")
	errIssuer   = errors.New("the assertion has another issuer")
	errAudience = errors.New("the assertion is for another audience")
	errClaims   = errors.New("the assertion lacks a claim or has a malformed one")
	errSubject  = errors.New("the assertion's subject is not a user principal name or e-mail address")
)

// assertion is a token whose signature, issuer and audience hold. Whether it is timely is asked at each use.
type assertion struct {
	claims                     map[string]any
	sub, oid, tid              string
	ticket, channel, agent, id string
	iat, nbf, exp              time.Time
	expired                    bool
}

// readClaims takes a verified payload apart.
func readClaims(claims map[string]any, issuer, audience string) (*assertion, error) {
	a := &assertion{claims: claims}
	if iss, ok := claims["iss"].(string); !ok || iss != issuer {
		return nil, errIssuer
	}
	if !forUs(claims["aud"], audience) {
		return nil, errAudience
	}
	sub, ok := claims["sub"].(string)
	if !ok {
		return nil, errClaims
	}
	if a.sub, ok = person(sub); !ok {
		return nil, errSubject
	}
	for name, to := range map[string]*string{
		"oid": &a.oid, "tid": &a.tid, "ticket": &a.ticket, "channel": &a.channel, "agent": &a.agent, "jti": &a.id,
	} {
		v, there := claims[name]
		if *to, ok = v.(string); there && (!ok || !printable(*to, maxText)) {
			return nil, errClaims
		}
	}
	for name, to := range map[string]*time.Time{"iat": &a.iat, "exp": &a.exp, "nbf": &a.nbf} {
		v, there := claims[name]
		if *to, ok = date(v); !ok && (there || name != "nbf") {
			return nil, errClaims
		}
	}
	return a, nil
}

// timely checks the assertion's times against now.
func (a *assertion) timely(now time.Time, maxAge time.Duration) error {
	switch {
	case !a.exp.After(a.iat), a.exp.Sub(a.iat) > maxAge:
		return errLifetime
	case a.iat.After(now.Add(leeway)), a.nbf.After(now.Add(leeway)):
		return errEarly
	case !now.Before(a.exp.Add(leeway)):
		return errExpired
	default:
		return nil
	}
}

// samePerson reports whether two assertions name one person: the same name, and no different immutable ids or addresses.
func (a *assertion) samePerson(b *assertion) bool {
	agree := func(x, y string) bool { return x == "" || y == "" || strings.EqualFold(x, y) }
	return a.sub == b.sub && agree(a.oid, b.oid) && agree(a.tid, b.tid) && agree(a.email(), b.email())
}

// email is the address that the issuer vouches for beside the name; "" where it gives none that can be used.
func (a *assertion) email() string {
	text, _ := a.claims["email"].(string)
	if address, ok := person(text); ok && strings.Contains(address, "@") && a.claims["email_verified"] != false {
		return address
	}
	return ""
}

func (a *assertion) identity() Identity {
	return Identity{
		Subject: policy.Subject{
			Agent: a.agent,
			Requester: policy.Requester{
				ID: a.sub, Assurance: policy.AssuranceAttested, Claims: maps.Clone(a.claims), ObjectID: a.oid, TenantID: a.tid,
				Email: a.email(),
			},
			Ticket: a.ticket,
		},
		Channel:   a.channel,
		JTI:       a.id,
		Presented: true,
	}
}

// forUs reports whether audience is aud, or one of a list that holds strings only.
func forUs(aud any, audience string) bool {
	switch aud := aud.(type) {
	case string:
		return aud == audience
	case []any:
		strs := !slices.ContainsFunc(aud, func(v any) bool { _, ok := v.(string); return !ok })
		return strs && slices.Contains(aud, any(audience))
	default:
		return false
	}
}

// person returns a name in the form in which people are compared: lower case, NFC. It must look like a user principal
// name or an e-mail address.
func person(s string) (string, bool) {
	if len(s) > maxPerson || !utf8.ValidString(s) {
		return "", false
	}
	s = norm.NFC.String(strings.ToLower(s))
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(s) > maxPerson || strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") || domain == "" {
		return "", false
	}
	if strings.ContainsFunc(local, func(r rune) bool { return !wordRune(r) && !strings.ContainsRune(".!#$%&'*+-/=?^_`{|}~", r) }) {
		return "", false
	}
	if strings.ContainsFunc(domain, func(r rune) bool { return !wordRune(r) && r != '.' && r != '-' }) {
		return "", false
	}
	return s, true
}

func wordRune(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.M) }

// printable reports whether s is short, and has no characters that steer a terminal or turn a line around.
func printable(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || r == utf8.RuneError })
}
