package notify

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	sinkName   = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
	methods    = []string{http.MethodPost, http.MethodPut, http.MethodPatch}
)

// reserved headers are ours, or the connection's.
var reserved = []string{
	"Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade", "Proxy-Connection",
	headerID, headerTimestamp, headerSignature,
}

// compile checks the options, fills their defaults and makes a lane for each sink.
func compile(o *Options) ([]*lane, error) {
	var bad []error
	if o.Dir == "" {
		bad = append(bad, errors.New("notify: no folder for the spool"))
	}
	if o.Source == "" {
		o.Source = "/countersign"
	}
	if u, err := url.Parse(o.Source); err != nil || u.User != nil {
		bad = append(bad, errors.New("notify: source must be a URI reference"))
	}
	if o.MaxEvents < 0 || o.MaxEvents > maxCountLimit || o.MaxBytes < 0 || o.WarnAfter < 0 {
		bad = append(bad, fmt.Errorf("notify: limits must not be negative, and events not above %d", maxCountLimit))
	}
	o.MaxEvents = orDefault(o.MaxEvents, 10_000)
	o.MaxBytes = orDefault(o.MaxBytes, 64<<20)
	o.WarnAfter = orDefault(o.WarnAfter, 5*time.Minute)
	lanes := make([]*lane, 0, len(o.Sinks))
	names := map[string]bool{}
	for i, s := range o.Sinks {
		p := &problems{prefix: fmt.Sprintf("notify[%d]", i)}
		if names[s.Name] {
			p.add("name", "is used twice: %q", s.Name)
		}
		names[s.Name] = true
		l := compileSink(p, s, o)
		bad = append(bad, p.errs...)
		lanes = append(lanes, l)
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return lanes, nil
}

func orDefault[T int | int64 | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

// problems gathers what is wrong with one sink. Their texts hold no secret.
type problems struct {
	prefix string
	errs   []error
}

func (p *problems) add(key, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s.%s: %s", p.prefix, key, fmt.Sprintf(format, args...)))
}

func compileSink(p *problems, s Sink, o *Options) *lane {
	c := compiled{Sink: s, source: o.Source}
	if !sinkName.MatchString(s.Name) {
		p.add("name", "must be lower-case letters, digits, _ and -, not %q", s.Name)
	}
	switch s.Type {
	case "webhook", "slack", "teams":
	default:
		p.add("type", "must be webhook, slack or teams, not %q", s.Type)
	}
	checkURL(p, &c)
	checkEvents(p, s)
	checkKeys(p, &c)
	checkContent(p, &c, o)
	checkAuth(p, s)
	if s.Timeout < 0 || s.Timeout > time.Minute {
		p.add("timeout", "must be at most 1m")
	}
	c.Timeout = orDefault(s.Timeout, 10*time.Second)
	transport := newTransport(s.RootCAs)
	c.client = newClient(transport, o.roundTripper)
	if s.OAuth.set() {
		c.tokens = &tokens{oauth: s.OAuth, client: c.client}
	}
	return &lane{sink: c, transport: transport, wake: make(chan struct{}, 1)}
}

func checkURL(p *problems, c *compiled) {
	u, err := url.Parse(string(c.URL))
	if err != nil || u.Host == "" {
		p.add("url", "must be an https URL") // the error would quote it
		c.url = &url.URL{}
		return
	}
	c.url = u
	if u.Scheme != "https" && !loopbackHTTP(u) {
		p.add("url", "must be https; http is for loopback addresses only")
	}
	if u.User != nil {
		p.add("url", "must not hold a user; set username and password")
	}
	if u.Fragment != "" {
		p.add("url", "must not have a fragment")
	}
	inPath := strings.Count(u.Path, ticketPlaceholder)
	if strings.Count(string(c.URL), ticketPlaceholder) > inPath {
		p.add("url", "may have {ticket} in its path only")
	}
	if inPath > 0 && c.Type != "webhook" {
		p.add("url", "{ticket} is for webhooks")
	}
}

func loopbackHTTP(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "http" && u.User == nil && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
}

func checkEvents(p *problems, s Sink) {
	for i, glob := range s.Events {
		matches := func(t Type) bool {
			ok, err := path.Match(glob, string(t))
			return ok && err == nil
		}
		key := fmt.Sprintf("events[%d]", i)
		switch {
		case !slices.ContainsFunc(Types(), matches):
			p.add(key, "matches no event: %q", glob)
		case s.Public && !slices.ContainsFunc(Types(), func(t Type) bool { return t != EscalationRequested && matches(t) }):
			p.add(key, "a note to the employee reaches no technician")
		}
	}
}

func checkKeys(p *problems, c *compiled) {
	if len(c.Secrets) > 0 && c.Type != "webhook" {
		p.add("secrets", "are for webhooks: %s checks no signature", c.Type)
	}
	for i, s := range c.Secrets {
		key, err := signingKey(s)
		if err != nil {
			p.add(fmt.Sprintf("secrets[%d]", i), "%v", err)
			continue
		}
		c.keys = append(c.keys, key)
	}
	if len(c.Secrets) == 0 && c.Type == "webhook" && c.Template == "" && c.Body == "" {
		p.add("secrets", "a webhook that gets CloudEvents needs at least one, so that nobody else can send them")
	}
}

func checkContent(p *problems, c *compiled, o *Options) {
	if c.Template != "" {
		c.preset = presets[c.Template]
		switch {
		case c.Type != "webhook":
			p.add("template", "is for webhooks")
		case c.preset == nil:
			p.add("template", "must be one of %s, not %q", strings.Join(Templates(), ", "), c.Template)
		case c.Body != "":
			p.add("body", "cannot be set with template")
		case c.preset.inPath && !strings.Contains(c.url.Path, ticketPlaceholder):
			p.add("url", "must have {ticket} in its path, for example %s", c.preset.example)
		}
		if c.Codes {
			p.add("codes", "must not be shown in tickets: the agent can read them")
		}
	} else if c.Public {
		p.add("public", "is for ticket notes: set template")
	}
	if c.Method != "" && (c.Type != "webhook" || !slices.Contains(methods, c.Method)) {
		p.add("method", "must be POST, PUT or PATCH, and is for webhooks")
	}
	if c.Body == "" {
		return
	}
	if c.Type != "webhook" {
		p.add("body", "is for webhooks")
	}
	t, err := parseTemplate(c.Body, o.Source)
	if err != nil {
		p.add("body", "%v", err)
	}
	c.body = t
}

func checkAuth(p *problems, s Sink) {
	ways := 0
	for _, used := range []bool{s.Username != "" || s.Password != "", s.Bearer != "", s.OAuth.set(), hasHeader(s.Headers, "Authorization")} {
		if used {
			ways++
		}
	}
	if ways > 1 {
		p.add("username", "set one of username with password, bearer, oauth and an Authorization header")
	}
	if (s.Username == "") != (s.Password == "") || strings.Contains(s.Username, ":") {
		p.add("username", "and password go together, and a username has no colon")
	}
	if !validHeaderValue(string(s.Bearer)) || strings.Contains(string(s.Bearer), " ") {
		p.add("bearer", "is not a token")
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		switch {
		case !headerName.MatchString(name):
			p.add("headers", "%q is not a header", name)
		case slices.Contains(reserved, http.CanonicalHeaderKey(name)):
			p.add("headers", "%s cannot be set", http.CanonicalHeaderKey(name))
		case !validHeaderValue(string(s.Headers[name])):
			p.add("headers", "the value of %s has characters that no header may have", name)
		}
	}
	if !s.OAuth.set() {
		return
	}
	if u, err := url.Parse(s.OAuth.TokenURL); err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !loopbackHTTP(u) {
		p.add("oauth.token_url", "must be an https URL")
	}
	if s.OAuth.ClientID == "" || s.OAuth.ClientSecret == "" {
		p.add("oauth", "needs client_id and client_secret")
	}
}

func hasHeader(h map[string]Secret, name string) bool {
	for k := range h {
		if strings.EqualFold(k, name) {
			return true
		}
	}
	return false
}

func validHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}
