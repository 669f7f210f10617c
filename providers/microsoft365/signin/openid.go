package signin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	callTime     = 10 * time.Second
	maxAnswer    = 1 << 20
	metadataLife = 24 * time.Hour
	minBackoff   = time.Second
	maxBackoff   = 30 * time.Second
)

// algorithms are the signatures that an ID token may have, whatever the provider's metadata says: no "none", and nothing
// symmetric, whose key could be somebody's public one.
var algorithms = []string{oidc.RS256, oidc.PS256, oidc.ES256}

// openid is the OpenID provider, by go-oidc and oauth2, with what they leave out: time-outs, bounded answers, no
// redirects, no proxy from the environment, metadata that is fetched again when it failed, errors without bodies.
type openid struct {
	issuer      string
	redirect    string
	authContext string
	entra       bool
	cred        *credential
	client      *http.Client
	now         func() time.Time

	turn    chan struct{} // holds one token: only one fetches metadata
	current *discovered   // under turn, as the rest
	until   time.Time     // of current; or of the last failure
	failure error
	backoff time.Duration
}

// discovered is the provider as its metadata describes it.
type discovered struct {
	verifier *oidc.IDTokenVerifier
	oauth    oauth2.Config
	sendsIss bool // RFC 9207
}

func newOpenID(o Options, cred *credential, redirect string) *openid {
	cred.now = o.Now
	tr := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: callTime}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    callTime,
		ResponseHeaderTimeout:  callTime,
		MaxResponseHeaderBytes: 64 << 10,
		DisableKeepAlives:      true, // a few calls per answer: nothing is left open in between
		ForceAttemptHTTP2:      true,
	}
	if o.dial != nil {
		tr.DialContext = o.dial
	}
	p := &openid{
		issuer: o.Issuer, redirect: redirect, authContext: o.AuthContext, entra: o.TenantID != "", cred: cred, now: o.Now,
		client: &http.Client{
			Transport: bounded{tr}, Timeout: callTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		turn: make(chan struct{}, 1),
	}
	p.turn <- struct{}{}
	return p
}

// provider returns the provider's metadata, from memory while it is fresh. After a failure the next call is answered from
// memory too, for a while.
func (p *openid) provider(ctx context.Context) (*discovered, error) {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { p.turn <- struct{}{} }()
	if p.now().Before(p.until) {
		if p.current != nil {
			return p.current, nil
		}
		return nil, p.failure
	}
	found, err := p.discover(ctx)
	switch {
	case err == nil:
		p.current, p.until, p.failure, p.backoff = found, p.now().Add(metadataLife), nil, 0
	case ctx.Err() != nil: // it is the caller who left
		return nil, ctx.Err()
	default:
		p.backoff = min(max(2*p.backoff, minBackoff), maxBackoff)
		p.until, p.failure = p.now().Add(p.backoff), err
		if p.current == nil {
			return nil, err
		}
	}
	return p.current, nil
}

func (p *openid) discover(ctx context.Context) (*discovered, error) {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.issuer)
	if err != nil {
		return nil, quiet("discovery", err)
	}
	var more struct {
		SendsIss bool   `json:"authorization_response_iss_parameter_supported"`
		Keys     string `json:"jwks_uri"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, errors.New("signin: discovery: malformed metadata")
	}
	endpoint := found.Endpoint()
	for what, s := range map[string]string{"authorization endpoint": endpoint.AuthURL, "token endpoint": endpoint.TokenURL, "jwks_uri": more.Keys} {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil || !secure(u) {
			return nil, fmt.Errorf("signin: discovery: the provider's %s is not an https URL", what)
		}
	}
	endpoint.AuthStyle = oauth2.AuthStyleInParams
	// The key set outlives this call, and bounds its own by the client's time-out.
	keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.WithoutCancel(ctx), p.client), more.Keys)
	return &discovered{
		verifier: oidc.NewVerifier(p.issuer, keys, &oidc.Config{ClientID: p.cred.clientID, SupportedSigningAlgs: algorithms, Now: p.now}),
		oauth: oauth2.Config{
			ClientID: p.cred.clientID, ClientSecret: string(p.cred.secret), Endpoint: endpoint, RedirectURL: p.redirect,
			Scopes: []string{oidc.ScopeOpenID, oidc.ScopeProfile}, // Microsoft puts oid into the token for profile
		},
		sendsIss: more.SendsIss,
	}, nil
}

// authorize returns where the browser goes to sign in. A yes asks for a new sign-in; a no is welcome from a session that
// the person already has.
func (p *openid) authorize(d *discovered, person string, i intent, state string, b browser) string {
	options := []oauth2.AuthCodeOption{
		oidc.Nonce(b.nonce(state)), oauth2.S256ChallengeOption(b.verifier(state)),
		oauth2.SetAuthURLParam("response_mode", "query"), // a form_post would come without our cookie
		oauth2.SetAuthURLParam("login_hint", person),
	}
	claims := map[string]any{}
	if i == approve {
		options = append(options, oauth2.SetAuthURLParam("prompt", "login"))
		if p.authContext != "" {
			claims["acrs"] = map[string]any{"essential": true, "value": p.authContext}
		}
		if !p.entra { // Microsoft's answer to a claim that it does not document is unknown; there, auth_time is configured
			claims["auth_time"] = map[string]any{"essential": true}
			options = append(options, oauth2.SetAuthURLParam("max_age", "0"))
		}
	}
	if len(claims) > 0 {
		ask := map[string]any{"id_token": claims}
		if p.entra {
			ask["access_token"] = claims // the form that Microsoft documents
		}
		request, _ := json.Marshal(ask) // strings and booleans only
		options = append(options, oauth2.SetAuthURLParam("claims", string(request)))
	}
	return d.oauth.AuthCodeURL(state, options...)
}

// exchange turns a code into a verified ID token. Errors carry nothing that the provider sent but its error's name.
func (p *openid) exchange(ctx context.Context, d *discovered, code, verifier string) (*oidc.IDToken, error) {
	options, err := p.cred.options(d.oauth.Endpoint.TokenURL)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, p.client)
	token, err := d.oauth.Exchange(ctx, code, append(options, oauth2.VerifierOption(verifier))...)
	if err != nil {
		return nil, quiet("token", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok || len(raw) > 64<<10 {
		return nil, &opError{during: "token", word: "no_id_token"}
	}
	id, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, quiet("id token", err)
	}
	return id, nil
}

// check tries metadata, keys and our credentials: a code that never existed must be what the provider objects to.
func (p *openid) check(ctx context.Context) error {
	d, err := p.provider(ctx)
	if err != nil {
		return err
	}
	_, err = p.exchange(ctx, d, "check", newTransaction()+newTransaction())
	failed, ok := errors.AsType[*opError](err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case ok && failed.refusal && failed.word != "invalid_client" && failed.word != "unauthorized_client":
		return nil
	case err == nil:
		return errors.New("signin: the provider took a code that it never gave")
	default:
		return err
	}
}

// opError is a failure at the OpenID provider.
type opError struct {
	during  string // discovery, token, id token
	word    string
	number  string // Microsoft's own, AADSTS…
	refusal bool   // an OAuth error answer: the provider is there, and said no
}

func (e *opError) Error() string {
	s := "signin: " + e.during + ": " + e.word
	if e.number != "" {
		s += " (" + e.number + ")"
	}
	return s
}

var (
	wordShape   = regexp.MustCompile(`^[a-z_]{1,40}$`)
	aadstsShape = regexp.MustCompile(`\bAADSTS[0-9]{4,9}\b`)
)

// quiet makes an error fit for logs. The libraries' errors quote whole answers, which may hold tokens and codes.
func quiet(during string, err error) error {
	e := &opError{during: during, word: "failed"}
	refused, isRefused := errors.AsType[*oauth2.RetrieveError](err)
	_, isExpired := errors.AsType[*oidc.TokenExpiredError](err)
	_, isMismatch := errors.AsType[*oidc.IssuerMismatchError](err)
	_, isTransport := errors.AsType[*url.Error](err)
	switch {
	case isRefused:
		e.word = fmt.Sprintf("status_%d", refused.Response.StatusCode)
		if wordShape.MatchString(refused.ErrorCode) {
			e.word, e.refusal = refused.ErrorCode, true
		}
		e.number = aadstsShape.FindString(refused.ErrorDescription)
	case isExpired:
		e.word = "expired"
	case isMismatch:
		e.word = "issuer_mismatch"
	case isTransport:
		e.word = "unreachable"
	case during == "id token":
		e.word = "not_valid"
	}
	return e
}

// bounded ends answers that are too long.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}
