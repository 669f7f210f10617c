package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What fits the documents in which the desk counts pushes (internal/hold).
const (
	maxBudget  = 500
	maxCeiling = 1000
)

// checks collects what is wrong with values that could be read.
type checks struct{ problems []Problem }

func (c *checks) fail(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{path, fmt.Sprintf(format, args...)})
}

// unsupported refuses a key whose feature is not built yet, unless it stands at its default.
func (c *checks) unsupported(path string, isDefault bool) {
	if !isDefault {
		c.fail(path, "not supported yet")
	}
}

func (c *checks) oneOf(path, got string, want ...string) {
	if !slices.Contains(want, got) {
		c.fail(path, "must be %s, not %q", strings.Join(want, " or "), got)
	}
}

func (c *checks) atLeast(path string, got, least time.Duration) {
	if got < least {
		c.fail(path, "must be at least %s", least)
	}
}

func (c Config) validate() []Problem {
	ch := &checks{}
	c.listen(ch)
	c.upstream(ch)
	c.requester(ch)
	c.verification(ch)
	c.providers(ch)
	c.callback(ch)
	c.ledger(ch)
	c.sinks(ch)
	c.rest(ch)
	c.notBuilt(ch)
	return ch.problems
}

func (c Config) listen(ch *checks) {
	addrs := map[string]string{"listen.proxy": c.Listen.Proxy, "listen.reverse": c.Listen.Reverse, "listen.control": c.Listen.Control, "listen.callback": c.Listen.Callback}
	used := map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(addrs)) {
		addr := addrs[path]
		if addr == "" {
			continue
		}
		_, port, err := net.SplitHostPort(addr)
		if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil {
			ch.fail(path, "must be host:port, not %q", addr)
			continue
		} else if n == 0 {
			continue // any free port
		}
		if other, ok := used[addr]; ok {
			ch.fail(path, "is the same address as %s", other)
		}
		used[addr] = path
	}
	if c.Listen.Proxy == "" && c.Listen.Reverse == "" {
		ch.fail("listen", "needs a proxy or a reverse address, or nothing can be called")
	}
	ca := c.TLS.CA
	if (ca.Cert == "") != (ca.Key == "") {
		ch.fail("tls.ca", "needs cert and key together")
	}
	if ca.Cert == "" && ca.Dir == "" {
		ch.fail("tls.ca.dir", "must not be empty")
	}
}

func (c Config) upstream(ch *checks) {
	for _, host := range slices.Sorted(maps.Keys(c.Upstream.Resolve)) {
		path, addr := "upstream.resolve."+host, c.Upstream.Resolve[host]
		if host != strings.ToLower(host) || host == "" || strings.ContainsAny(host, "*:/ ") {
			ch.fail(path, "must be named by a host in lower case, without port")
		}
		h, port, err := net.SplitHostPort(addr)
		if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil || n == 0 || h == "" {
			ch.fail(path, "must be addr:port, not %q", addr)
		}
	}
	ch.atLeast("upstream.timeout", c.Upstream.Timeout, time.Second)
}

func (c Config) requester(ch *checks) {
	ch.oneOf("requester.trust", c.Requester.Trust, "attested", "asserted")
	a := c.Requester.Assertions
	if n := count(a.Issuer != "", a.Audience != "", a.JWKS != ""); n != 0 && n != 3 {
		ch.fail("requester.assertions", "needs issuer, audience and jwks together")
	}
	if rest, ok := strings.CutPrefix(a.JWKS, "http://"); ok && !loopback(strings.SplitN(rest, "/", 2)[0]) {
		ch.fail("requester.assertions.jwks", "must be https, or a file")
	}
	ch.atLeast("requester.assertions.max_age", a.MaxAge, time.Second)
	if c.Requester.Trust != "asserted" {
		return
	}
	// A plain header is worth as much as the network in front of it.
	for path, addr := range map[string]string{"listen.proxy": c.Listen.Proxy, "listen.reverse": c.Listen.Reverse} {
		if addr != "" && !loopback(addr) {
			ch.fail(path, "must be a loopback address with requester.trust: asserted")
		}
	}
}

func (c Config) verification(ch *checks) {
	v := c.Verification
	seen := map[string]bool{}
	for i, name := range v.Providers {
		path := "verification.providers[" + strconv.Itoa(i) + "]"
		if _, ok := c.Providers[name]; !ok {
			ch.fail(path, "there is no provider %q under providers", name)
		}
		if seen[name] {
			ch.fail(path, "%q is there twice", name)
		}
		seen[name] = true
	}
	ch.atLeast("verification.timeout", v.Timeout, time.Second)
	ch.atLeast("verification.resume", v.Resume, time.Second)
	if v.MaxHolds < 1 {
		ch.fail("verification.max_holds", "must be at least 1")
	}
	for path, n := range map[string]int{"per_15m": v.Budget.Per15m, "per_day": v.Budget.PerDay, "denials": v.Budget.Denials} {
		if n < 1 {
			ch.fail("verification.budget."+path, "must be at least 1")
		}
		if n > maxBudget {
			ch.fail("verification.budget."+path, "must be at most %d", maxBudget)
		}
	}
	for path, n := range map[string]int{"per_agent_15m": v.Budget.PerAgent15m, "per_tenant_15m": v.Budget.PerTenant15m} {
		if n < 0 {
			ch.fail("verification.budget."+path, "must be 0 for no ceiling, or more")
		}
		if n > maxCeiling {
			ch.fail("verification.budget."+path, "must be at most %d", maxCeiling)
		}
	}
}

// callback checks the public listener: who reaches it over a network has to find TLS there.
func (c Config) callback(ch *checks) {
	cb, acme := c.Callback, c.TLS.ACME
	if (cb.Cert == "") != (cb.Key == "") {
		ch.fail("callback", "needs cert and key together")
	}
	if cb.Cert != "" && len(acme.Domains) > 0 {
		ch.fail("callback.cert", "contradicts tls.acme.domains: the certificate comes from one of them")
	}
	if len(acme.Domains) > 0 && acme.Storage == "" {
		ch.fail("tls.acme.storage", "must not be empty")
	}
	if acme.Directory != "" && !secureURL(acme.Directory) {
		ch.fail("tls.acme.directory", "must be an https URL")
	}
	if u := cb.ExternalURL; u != "" && !secureURL(u) {
		ch.fail("callback.external_url", "must be an https URL, or http on a loopback address")
	}
	if c.Listen.Callback == "" {
		return
	}
	if cb.Cert == "" && len(acme.Domains) == 0 && !loopback(c.Listen.Callback) {
		ch.fail("listen.callback", "needs tls.acme.domains, or callback.cert and key; without them it must be a loopback address")
	}
	if cb.ExternalURL == "" && len(acme.Domains) == 0 && !loopback(c.Listen.Callback) {
		ch.fail("callback.external_url", "is missing: how browsers reach the listener")
	}
}

// ledger checks what is told by the file alone; the ledger package refuses the rest.
func (c Config) ledger(ch *checks) {
	l := c.Ledger
	if l.URL == "" {
		if l.Dir == "" {
			ch.fail("ledger.dir", "must not be empty")
		}
		if l.DigestKey.Set() {
			ch.fail("ledger.digest_key", "is for a shared ledger; an embedded one has digest.key in its folder")
		}
		return
	}
	if !l.Key.Set() {
		ch.fail("ledger.key", "is missing: without it, writing to the shared ledger would be approving")
	}
	if l.DigestKey.Set() && len(l.DigestKey.Reveal()) < 32 {
		ch.fail("ledger.digest_key", "must have at least 32 bytes")
	}
	if l.Replicas < 1 {
		ch.fail("ledger.replicas", "must be at least 1")
	}
	if (l.ClientCert == "") != (l.ClientKey == "") {
		ch.fail("ledger", "needs client_cert and client_key together")
	}
}

func (c Config) rest(ch *checks) {
	ch.oneOf("policy.unlisted_writes", c.Policy.UnlistedWrites, "step_up", "deny", "allow")
	c.bundle(ch)
	c.Policy.DecisionLogs.check(ch)
	if c.Journal.Path == "" {
		ch.fail("journal.path", "must not be empty: no record, no action")
	}
	if c.Limits.Body < 1 {
		ch.fail("limits.body", "must be at least 1")
	}
	if c.Limits.Header < 4<<10 {
		ch.fail("limits.header", "must be at least 4KiB")
	}
	ch.oneOf("telemetry.log.level", c.Telemetry.Log.Level, "debug", "info", "warn", "error")
	ch.oneOf("telemetry.log.format", c.Telemetry.Log.Format, "json", "text")
	if u := c.Control.ExternalURL; u != "" {
		if p, err := url.Parse(u); err != nil || p.Scheme != "https" && p.Scheme != "http" || p.Host == "" {
			ch.fail("control.external_url", "must be an http or https URL")
		}
	}
}

// bundle checks what is told by the file alone; the policy package refuses the rest.
func (c Config) bundle(ch *checks) {
	b := c.Policy.Bundle
	if b.URL == "" {
		if b.Key.Set() || b.Token.Set() || b.AllowUnsigned {
			ch.fail("policy.bundle.url", "is missing")
		}
		return
	}
	u, err := url.Parse(b.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Host) && !loopback(u.Hostname())) {
		ch.fail("policy.bundle.url", "must be an https URL, or http on a loopback address")
	}
	if !b.Key.Set() && !b.AllowUnsigned {
		ch.fail("policy.bundle.key", "is missing: a bundle has to be signed, unless allow_unsigned is true")
	}
	if b.Key.Set() && b.AllowUnsigned {
		ch.fail("policy.bundle.allow_unsigned", "contradicts key")
	}
	ch.atLeast("policy.bundle.polling", b.Polling, time.Second)
}

// notBuilt lists the keys of the design whose features are not there yet.
func (c Config) notBuilt(ch *checks) {
	ch.unsupported("listen.transparent", c.Listen.Transparent == "")
	ch.unsupported("listen.ext_authz", c.Listen.ExtAuthz == "")
	ch.unsupported("upstream.proxy", c.Upstream.Proxy == "")
	ch.unsupported("policy.mode", c.Policy.Mode == "enforce")
	ch.unsupported("telemetry.otlp", c.Telemetry.OTLP == "")
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func count(conds ...bool) (n int) {
	for _, c := range conds {
		if c {
			n++
		}
	}
	return n
}
