package hold_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"countersign/internal/hold"
	"countersign/policy"
	"countersign/providers"
)

// says is a Start that asks nobody.
func says(v providers.Verdict) func(context.Context, providers.Challenge) (providers.Attempt, error) {
	return func(context.Context, providers.Challenge) (providers.Attempt, error) {
		return providers.Attempt{Outcome: providers.Outcome{Verdict: v, Detail: "said so"}}, nil
	}
}

// phones is a desk's verifiers by name, each of them a phone.
func phones(op *hold.Options, named ...hold.Named) map[string]*phone {
	out := map[string]*phone{}
	op.Verifiers = nil
	for _, n := range named {
		p, ok := n.Verifier.(*phone)
		if !ok {
			p = &phone{}
			n.Verifier = p
		}
		out[n.Name] = p
		op.Verifiers = append(op.Verifiers, n)
	}
	return out
}

// rang names the phones that were pushed.
func rang(all map[string]*phone) []string {
	var out []string
	for name, p := range all {
		if p.count() > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func TestAPersonIsAskedAtTheProviderOfTheirTenantOrDomain(t *testing.T) {
	for _, c := range []struct {
		id, tenant, want string
		state            hold.State
	}{
		{"alice@contoso.com", "", "contoso", hold.Pending},
		{"alice@CONTOSO.com", "", "contoso", hold.Pending},
		{"alice@eu.contoso.com", "", "below", hold.Pending},
		{"alice@a.b.contoso.com", "", "below", hold.Pending},
		{"alice@notcontoso.com", "", "general", hold.Pending},
		{"alice@contoso.com.evil.example", "", "general", hold.Pending},
		{"alice", "", "general", hold.Pending},
		{"alice@fabrikam.com", "T-1", "tenant", hold.Pending},
		{"alice@fabrikam.com", "t-2", "general", hold.Pending},
		{"alice@contoso.com", "t-1", "tenant", hold.Pending}, // both; the order of preference decides
		{"alice@tenant.com", "t-2", "general", hold.Pending}, // where both name a tenant, the domain says nothing
		{"alice@tenant.com", "", "tenant", hold.Pending},     // and says it where they do not
		{"alice@x@contoso.com", "", "contoso", hold.Pending}, // what stands after the last @
		{"alice@contoso.com@evil.com", "", "general", hold.Pending},
	} {
		var all map[string]*phone
		inOffice(t, func(op *hold.Options) {
			all = phones(op, hold.Named{Name: "general"}, hold.Named{Name: "tenant", Tenants: []string{"t-1"}, Domains: []string{"tenant.com"}},
				hold.Named{Name: "contoso", Domains: []string{" Contoso.com"}}, hold.Named{Name: "below", Domains: []string{"*.contoso.com"}})
		}, func(t *testing.T, o *office) {
			r := request(0)
			r.Subject.Requester.ID, r.Subject.Requester.TenantID = c.id, c.tenant
			a := o.attach(r)
			if got := rang(all); !slices.Equal(got, []string{c.want}) {
				t.Errorf("%s of tenant %q was asked at %v, want %s", c.id, c.tenant, got, c.want)
			}
			a.Leave(false)
		})
	}
}

func TestThePersonsOwnProviderComesFirstAndTheGeneralOneNext(t *testing.T) {
	var all map[string]*phone
	inOffice(t, func(op *hold.Options) {
		all = phones(op, hold.Named{Name: "general"}, hold.Named{Name: "own", Domains: []string{"contoso.com"}, Verifier: &phone{start: says(providers.NotEnrolled)}})
	}, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		if got := rang(all); !slices.Equal(got, []string{"general"}) {
			t.Errorf("asked at %v, want general after the own one", got)
		}
		a.Leave(false)
	})
}

func TestNobodysProviderIsNotEnrolled(t *testing.T) {
	unknown := func(providers.Person) (providers.Person, bool) { return providers.Person{ID: "x"}, false }
	empty := func(providers.Person) (providers.Person, bool) { return providers.Person{}, true }
	fails := func(providers.Person) (providers.Person, bool) { panic("secret") }
	for name, c := range map[string]struct {
		only []hold.Named
		want hold.State
	}{
		"another domain":                 {[]hold.Named{{Name: "a", Domains: []string{"fabrikam.com"}}}, hold.NotEnrolled},
		"another tenant":                 {[]hold.Named{{Name: "a", Tenants: []string{"t-9"}}}, hold.NotEnrolled},
		"not in the map":                 {[]hold.Named{{Name: "a", Map: unknown}}, hold.NotEnrolled},
		"mapped to nobody":               {[]hold.Named{{Name: "a", Map: empty}}, hold.NotEnrolled},
		"a map that fails":               {[]hold.Named{{Name: "a", Map: fails}}, hold.Unavailable},
		"not in one map, the other down": {[]hold.Named{{Name: "a", Map: unknown}, {Name: "b", Verifier: &phone{start: says(providers.Unavailable)}}}, hold.Unavailable},
		"not in one map, nor enrolled":   {[]hold.Named{{Name: "a", Map: unknown}, {Name: "b", Verifier: &phone{start: says(providers.NotEnrolled)}}}, hold.NotEnrolled},
		"one map fails, not enrolled":    {[]hold.Named{{Name: "a", Map: fails}, {Name: "b", Verifier: &phone{start: says(providers.NotEnrolled)}}}, hold.Unavailable},
	} {
		var all map[string]*phone
		told := 0
		inOffice(t, func(op *hold.Options) {
			all = phones(op, c.only...)
			op.Escalated = func(context.Context, hold.Record) bool { told++; return true }
		}, func(t *testing.T, o *office) {
			r := o.outcome(o.attach(request(0)))
			if r.State != c.want || len(rang(all)) > 0 || told != 1 || !r.Escalated {
				t.Errorf("%s: %v (%s), asked at %v, escalated %d times; want %v and one escalation", name, r.State, r.Detail, rang(all), told, c.want)
			}
		})
	}
}

func TestAMapNamesTheProvidersUser(t *testing.T) {
	inOffice(t, func(op *hold.Options) {
		op.Verifiers[0].Map = func(p providers.Person) (providers.Person, bool) {
			local, _, _ := strings.Cut(p.ID, "@")
			return providers.Person{ID: local}, true
		}
	}, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.pushes(1)
		if got := o.phone.pushes[0].Person; got != (providers.Person{ID: "alice"}) {
			t.Errorf("asked %+v, want alice", got)
		}
		o.phone.answer(providers.Approved)
		if r := o.outcome(a); r.Evidence == nil || r.Evidence.Approver.ID != "alice@contoso.com" {
			t.Errorf("evidence %+v, want the requester's own id", r.Evidence)
		}
	})
}

func TestAPreferenceBindsOnlyWhereAProviderOfThePersonHasIt(t *testing.T) {
	text := []string{"text"}
	elsewhere := []string{"fabrikam.com"}
	for name, c := range map[string]struct {
		prefer []string
		named  []hold.Named
		want   string // "": nobody, unavailable
	}{
		"nothing is preferred":            {nil, []hold.Named{{Name: "plain"}, {Name: "text", Verifier: &phone{can: text}}}, "plain"},
		"text goes first":                 {text, []hold.Named{{Name: "plain"}, {Name: "text", Verifier: &phone{can: text}}}, "text"},
		"before the own domain":           {text, []hold.Named{{Name: "plain", Domains: []string{"contoso.com"}}, {Name: "text", Verifier: &phone{can: text}}}, "text"},
		"nobody has it":                   {text, []hold.Named{{Name: "plain"}, {Name: "other"}}, "plain"},
		"nobody of this person has it":    {text, []hold.Named{{Name: "plain"}, {Name: "text", Domains: elsewhere, Verifier: &phone{can: text}}}, "plain"},
		"not enrolled where it is":        {text, []hold.Named{{Name: "plain"}, {Name: "text", Verifier: &phone{can: text, start: says(providers.NotEnrolled)}}}, "plain"},
		"down where it is":                {text, []hold.Named{{Name: "plain"}, {Name: "text", Verifier: &phone{can: text, start: says(providers.Unavailable)}}}, ""},
		"down where it is, but not alone": {text, []hold.Named{{Name: "down", Verifier: &phone{can: text, start: says(providers.Unavailable)}}, {Name: "text", Verifier: &phone{can: text}}}, "text"},
		"more of it goes first": {[]string{"number_match", "text"}, []hold.Named{
			{Name: "text", Verifier: &phone{can: text}}, {Name: "both", Verifier: &phone{can: []string{"text", "number_match"}}},
		}, "both"},
	} {
		var all map[string]*phone
		inOffice(t, func(op *hold.Options) { all = phones(op, c.named...) }, func(t *testing.T, o *office) {
			r := request(0)
			r.Decision.Requirement = &policy.Requirement{Approver: "requester", Prefer: c.prefer}
			a := o.attach(r)
			got := strings.Join(rang(all), " ")
			if got != c.want {
				t.Errorf("%s: asked at %q, want %q", name, got, c.want)
			}
			if c.want == "" {
				o.state(a, hold.Unavailable)
			}
			a.Leave(false)
		})
	}
}

func TestAProviderIsToldWhatThePromptMustHave(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.Verifiers[0].Verifier.(*phone).can = []string{"text", "number_match"} }, func(t *testing.T, o *office) {
		r := request(0)
		r.Decision.Requirement = &policy.Requirement{Approver: "requester", Capabilities: []string{"number_match"}, Prefer: []string{"text"}}
		a := o.attach(r)
		o.pushes(1)
		if got := o.phone.pushes[0].Needs; !slices.Equal(got, []string{"number_match"}) {
			t.Errorf("Needs = %v, want number_match", got)
		}
		a.Leave(false)
	})
}

func TestVerifiersThatCouldNotBeReachedAreRefused(t *testing.T) {
	for _, n := range []hold.Named{
		{Domains: []string{""}}, {Domains: []string{"*"}}, {Domains: []string{"*."}}, {Domains: []string{"a@b.com"}}, {Domains: []string{".b.com"}},
		{Domains: []string{"*.*.com"}}, {Domains: []string{"b.com."}}, {Tenants: []string{" "}},
	} {
		o := hold.Options{Ledger: noLedger{}, Recorder: &journal{}}
		n.Name, n.Verifier = "a", &phone{}
		o.Verifiers = []hold.Named{n}
		if _, err := hold.NewDesk(o); err == nil {
			t.Errorf("%q, %q was accepted", n.Domains, n.Tenants)
		}
	}
}

// noLedger is one that is never asked.
type noLedger struct{ hold.Ledger }

// Whoever is told of a hold that asked nobody is told which provider said why.
func TestAHoldThatAskedNobodyNamesWhoSaidSo(t *testing.T) {
	for verdict, want := range map[providers.Verdict]hold.State{providers.NotEnrolled: hold.NotEnrolled, providers.LockedOut: hold.LockedOut, providers.Unavailable: hold.Unavailable} {
		inOffice(t, func(op *hold.Options) {
			op.Verifiers = []hold.Named{{Name: "duo", Verifier: &phone{start: says(verdict)}}}
		}, func(t *testing.T, o *office) {
			a := o.attach(request(0))
			if r := o.outcome(a); r.State != want || r.Provider != "duo" {
				t.Errorf("%v by %q, want %v by duo", r.State, r.Provider, want)
			}
		})
	}
}
