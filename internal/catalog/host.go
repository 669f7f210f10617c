package catalog

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// home is where an API lives on hosts of its customers.
type home struct {
	api   *API
	under []string
}

// ByHost returns the API that a canonical host (lower case, no port) belongs to.
func (c *Catalog) ByHost(host string) (*API, bool) {
	if a, ok := c.exact[host]; ok {
		return a, true
	}
	for rest := host; ; {
		_, tail, found := strings.Cut(rest, ".")
		if !found {
			return nil, false
		}
		if a, ok := c.suffixes[tail]; ok {
			return a, true
		}
		rest = tail
	}
}

// Hosts returns every host and host pattern of every API, sorted. "*.x.com" stands for one or more labels.
func (c *Catalog) Hosts() []string { return slices.Clone(c.hosts) }

// ByPath returns the API that lives under the path on a host that no API owns, and the path as the API's own hosts
// would have it. Only a host that somebody chose to intercept gets here.
func (c *Catalog) ByPath(segments []string) (*API, []string, bool) {
	for n := min(len(segments), maxHome); n > 0; n-- {
		if h, ok := c.homes[strings.Join(segments[:n], "/")]; ok {
			return h.api, slices.Concat(h.under, segments[n:]), true
		}
	}
	return nil, nil, false
}

// maxHome is how many segments a path of self_hosted has at most.
const maxHome = 4

// With returns a catalog that knows more hosts: those that are a customer's own and speak an API that is known, each with the
// name of its API. An Okta org's own domain is one, a GitHub Enterprise Server another. A host that is somebody's already
// stays that.
func (c *Catalog) With(hosts map[string]string) (*Catalog, error) {
	out := *c
	out.exact, out.suffixes, out.hosts = maps.Clone(c.exact), maps.Clone(c.suffixes), slices.Clone(c.hosts)
	out.customers = map[string]bool{}
	l := loader{catalog: &out}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		name := hosts[host]
		a, ok := c.apis[name]
		switch {
		case !ok:
			l.problem("%s: no API is called %q; there are %s", host, name, strings.Join(c.Names(), ", "))
		case a.semantics.AWS != nil:
			l.problem("%s: an API of %s is told by its host's name, so it cannot have another", host, name)
		default:
			if other, taken := c.ByHost(strings.TrimPrefix(host, "*.")); taken {
				l.problem("%s: the host is one of %s already", host, other.name)
				continue
			}
			l.host(host, host, a)
			out.customers[host] = true
		}
	}
	if err := errors.Join(l.problems...); err != nil {
		return nil, fmt.Errorf("catalog: %w", err)
	}
	slices.Sort(out.hosts)
	return &out, nil
}

// Customer reports whether the host speaks an API without being one of its own: With said so.
func (c *Catalog) Customer(host string) bool {
	if c.customers[host] {
		return true
	}
	for _, tail, found := strings.Cut(host, "."); found; _, tail, found = strings.Cut(tail, ".") {
		if c.customers["*."+tail] {
			return true
		}
	}
	return false
}

// Labels returns the labels that a host has before the name it is known by: [bucket s3 us-east-1] of
// bucket.s3.us-east-1.amazonaws.com where the pattern is *.amazonaws.com.
func (a *API) Labels(host string) []string {
	var out []string
	for _, pattern := range a.hosts {
		suffix, wild := strings.CutPrefix(pattern, "*")
		front, ok := strings.CutSuffix(host, suffix)
		if !wild || !ok || front == "" {
			continue
		}
		if labels := strings.Split(front, "."); out == nil || len(labels) < len(out) { // the longest pattern decides, as in ByHost
			out = labels
		}
	}
	return out
}

// Secret reports whether a parameter of this name is a secret in every call of the API, in its query too.
func (a *API) Secret(name string) bool {
	if a.semantics.FoldCase {
		name = strings.ToLower(name)
	}
	return a.secrets.anywhere[name] || slices.ContainsFunc(a.secrets.paths, func(p bodyPath) bool {
		return len(p) == 1 && keyMatches(p[0], name, a.semantics.FoldCase)
	})
}

func (l *loader) host(name, host string, a *API) {
	bare, wild := strings.CutPrefix(host, "*.")
	if bare == "" || bare != strings.ToLower(bare) || strings.ContainsAny(bare, "*/: ") || path.Clean(bare) != bare ||
		strings.HasSuffix(bare, ".") || strings.HasPrefix(bare, ".") || !strings.Contains(bare, ".") {
		l.problem("%s: host %q is not a lower-case name or *.name", name, host)
		return
	}
	table := l.catalog.exact
	if wild {
		table = l.catalog.suffixes
	}
	if other, ok := table[bare]; ok {
		l.problem("%s: host %s is already one of %s", name, host, other.name)
		return
	}
	table[bare] = a
	l.catalog.hosts = append(l.catalog.hosts, host)
}

func (l *loader) home(name, at, under string, a *API) {
	segments := strings.Split(at, "/")
	if slices.Contains(segments, "") || len(segments) > maxHome {
		l.problem("%s: self_hosted %q is not name/name", name, at)
		return
	}
	if other, ok := l.catalog.homes[at]; ok {
		l.problem("%s: self_hosted %s is already one of %s", name, at, other.api.name)
		return
	}
	if len(a.semantics.Versions) > 0 || a.semantics.Keys != "" || a.semantics.TenantPrefix {
		l.problem("%s: self_hosted is for an API whose paths have no syntax of their own", name)
		return
	}
	h := home{api: a}
	if under != "" {
		h.under = strings.Split(under, "/")
	}
	l.catalog.homes[at] = h
}
