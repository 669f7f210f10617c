package hold

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"countersign/policy"
	"countersign/providers"
)

// Named is a verifier under the name that requirements and the journal know it by, and whom it is for.
type Named struct {
	Name     string
	Verifier providers.Verifier

	// Tenants and Domains make the verifier one for certain persons only, who are sent to it before any general one. A
	// person belongs by tenant id where both sides name one, and by the domain of UPN or e-mail otherwise. "contoso.com"
	// is that domain alone, "*.contoso.com" whatever lies below it. Both empty: it is for everybody.
	Tenants []string
	Domains []string

	// Map turns a requester into this provider's user. False says that the provider does not know them, which is the same
	// as not enrolled there. It must not block. Nil: the requester as they are.
	Map func(providers.Person) (providers.Person, bool)

	// Factors names the APIs, as the catalog does, that can change the factor this verifier asks by. It is not asked about
	// a call to one of them that changes the requester's own factor, or that may.
	Factors []string
}

// Details of holds that ended without a push because of who would have been asked, or about what.
const (
	// DetailOwnFactor: the operation changes the factor that would have confirmed it, and no other one is there.
	DetailOwnFactor = "changes the factor that would confirm it"
	// DetailNoProvider: no provider is there for this person.
	DetailNoProvider = "no provider for this person"
)

// checkVerifiers refuses verifiers that could not be told apart or would never be used, and returns a copy in which names
// compare as they are.
func checkVerifiers(in []Named) ([]Named, error) {
	out := slices.Clone(in)
	seen := map[string]bool{}
	for i := range out {
		v := &out[i]
		if v.Name == "" || v.Verifier == nil || seen[v.Name] {
			return nil, fmt.Errorf("hold: verifier %q has no name, no verifier or a name twice", v.Name)
		}
		seen[v.Name] = true
		v.Tenants, v.Domains = lowered(v.Tenants), lowered(v.Domains)
		if slices.Contains(v.Tenants, "") || slices.ContainsFunc(v.Domains, badDomain) {
			return nil, fmt.Errorf("hold: verifier %q has an empty tenant, or a domain that is none", v.Name)
		}
	}
	return out, nil
}

func lowered(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(strings.TrimSpace(s))
	}
	return out
}

func badDomain(s string) bool {
	s = strings.TrimPrefix(s, "*.")
	return s == "" || strings.ContainsAny(s, "*@ /:") || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".")
}

func (v Named) specific() bool { return len(v.Tenants)+len(v.Domains) > 0 }

// serves reports whether the verifier is for that person.
func (v Named) serves(p providers.Person) bool {
	switch {
	case !v.specific():
		return true
	case len(v.Tenants) > 0 && p.TenantID != "":
		return slices.Contains(v.Tenants, strings.ToLower(p.TenantID))
	}
	domain := domainOf(p.ID)
	return domain != "" && slices.ContainsFunc(v.Domains, func(pattern string) bool {
		if parent, below := strings.CutPrefix(pattern, "*"); below {
			return strings.HasSuffix(domain, parent) && len(domain) > len(parent)
		}
		return domain == pattern
	})
}

func domainOf(id string) string {
	_, domain, _ := cutLast(id, "@")
	return strings.ToLower(domain)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// user is the person as the provider knows them. An error says that nobody can tell.
func (v Named) user(p providers.Person) (user providers.Person, known bool, err error) {
	if v.Map == nil {
		return p, true, nil
	}
	err = guard(func() error { user, known = v.Map(p); return nil })
	return user, known && (user.ID != "" || user.ObjectID != ""), err
}

func (v Named) capabilities() []string {
	if c, ok := v.Verifier.(providers.Capable); ok {
		return c.Capabilities()
	}
	return nil
}

// choose returns the verifiers that could meet the requirement, whoever is asked, in order of preference.
func (d *Desk) choose(r policy.Requirement) ([]Named, error) {
	var out []Named
	for _, v := range d.o.Verifiers {
		if len(r.Providers) > 0 && !slices.Contains(r.Providers, v.Name) {
			continue
		}
		can := v.capabilities()
		missing := func(want string) bool { return !slices.Contains(can, want) }
		if !slices.ContainsFunc(r.Capabilities, missing) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return nil, ErrNoProvider
	}
	return out, nil
}

// candidate is a verifier that may ask, and whom it would ask.
type candidate struct {
	Named
	user      providers.Person
	preferred int // how many of the preferred capabilities it has
}

// plan is who may be asked, in order, and what is known of those who are not in it.
type plan struct {
	candidates []candidate
	own        bool // somebody was left out because the operation changes that very factor
	down       bool // or because it could not be told whom they know
}

// planFor chooses for the person of a hold. Verifiers with more of what is preferred come first, then those for this
// person's tenant or domain, then the general ones, each in order of preference.
func (d *Desk) planFor(r Record) (plan, error) {
	verifiers, err := d.choose(r.Requirement)
	if err != nil {
		return plan{}, err
	}
	var p plan
	person := personOf(r.Subject)
	for _, v := range verifiers {
		if !v.serves(person) {
			continue
		}
		user, known, err := v.user(person)
		switch {
		case err != nil:
			d.o.Logger.Error("hold: provider's map of persons", "provider", v.Name, "error", err)
			p.down = true
			continue
		case !known:
			continue
		case slices.ContainsFunc(r.OwnFactors, func(api string) bool { return slices.Contains(v.Factors, api) }):
			p.own = true
			continue
		}
		c := candidate{Named: v, user: user}
		for _, want := range r.Requirement.Prefer {
			if slices.Contains(v.capabilities(), want) {
				c.preferred++
			}
		}
		p.candidates = append(p.candidates, c)
	}
	slices.SortStableFunc(p.candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.preferred, a.preferred), compareBool(b.specific(), a.specific()))
	})
	return p, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// nobody is the outcome when everybody in the plan, if there was anybody, does not know the person.
func (p plan) nobody(said providers.Outcome) providers.Outcome {
	switch {
	case p.down:
		return providers.Outcome{Verdict: providers.Unavailable, Detail: "provider's map of persons failed"}
	case p.own:
		return providers.Outcome{Verdict: providers.NotEnrolled, Detail: DetailOwnFactor}
	case len(p.candidates) == 0:
		return providers.Outcome{Verdict: providers.NotEnrolled, Detail: DetailNoProvider}
	default:
		said.Verdict = providers.NotEnrolled
		return said
	}
}

func personOf(s policy.Subject) providers.Person {
	q := s.Requester
	return providers.Person{ID: q.ID, ObjectID: q.ObjectID, TenantID: q.TenantID, Email: q.Email}
}
