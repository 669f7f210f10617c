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

const (
	aliceObject = "11111111-2222-3333-4444-555555555555"
	bobObject   = "99999999-2222-3333-4444-555555555555"
)

// changing is a request that changes somebody's factor.
func changing(api, resource, id string) hold.Request {
	r := request(0)
	r.Subject.Requester.ObjectID = aliceObject
	r.Subject.Requester.Claims = map[string]any{"email": "Alice.Smith@contoso.com", "ticket": 7}
	r.Operations = []policy.Operation{{API: api, Name: "factor.change", Resource: policy.Resource{Type: resource, ID: id}, ChangesFactor: true}}
	return r
}

func TestAFactorDoesNotConfirmItsOwnChange(t *testing.T) {
	const graph, duo = "microsoft-graph", "duo-admin"
	for name, c := range map[string]struct {
		request hold.Request
		want    string // who is asked; "": a technician
	}{
		"the requester's own":                      {changing(graph, "user", "alice@contoso.com"), "duo"},
		"whatever the case":                        {changing(graph, "user", "ALICE@Contoso.com"), "duo"},
		"by another name of theirs":                {changing(graph, "user", "alice.smith@contoso.com"), "duo"},
		"by their object id":                       {changing(graph, "user", strings.ToUpper(aliceObject)), "duo"},
		"somebody else's":                          {changing(graph, "user", "bob@contoso.com"), "m365"},
		"somebody else's object id":                {changing(graph, "user", bobObject), "m365"},
		"an id that says nothing":                  {changing(graph, "user", "17"), "duo"},
		"the account that is signed in":            {changing(graph, "user", "me"), "duo"},
		"a list that may have them":                {changing(graph, "user", "bob@contoso.com, alice@contoso.com"), "duo"},
		"a key with a name":                        {changing(graph, "user", "mail=alice@contoso.com"), "duo"},
		"letters that only look alike":             {changing(graph, "user", "аlice@contoso.com"), "duo"}, // a Cyrillic а: who knows how the API folds it
		"nobody named":                             {changing(graph, "", ""), "duo"},
		"a thing that may be theirs":               {changing(graph, "device", "bob@contoso.com"), "duo"},
		"what the provider calls them":             {changing(duo, "user", "asmith@duo.example"), "m365"},
		"Duo's own id":                             {changing(duo, "user", "DU123"), "m365"},
		"an API that has nobody's factor":          {changing("okta", "user", "alice@contoso.com"), "m365"},
		"only the other provider may be asked":     {only(changing(duo, "user", "DU123"), "duo"), ""},
		"both at once":                             {both(changing(duo, "user", "DU123"), changing(graph, "user", "me")), ""},
		"somebody else, and the requester's own":   {both(changing(graph, "user", "bob@contoso.com"), changing(graph, "user", "alice@contoso.com")), "duo"},
		"an operation that leaves the factor be":   {plain(changing(graph, "user", "alice@contoso.com")), "m365"},
		"an object id against a requester without": {without(changing(graph, "user", bobObject)), "duo"},
	} {
		var all map[string]*phone
		told := 0
		inOffice(t, func(op *hold.Options) {
			all = phones(op, hold.Named{Name: "m365", Factors: []string{graph}}, hold.Named{Name: "duo", Factors: []string{duo}, Map: func(providers.Person) (providers.Person, bool) {
				return providers.Person{ID: "asmith@duo.example"}, true
			}})
			op.Escalated = func(context.Context, hold.Record) bool { told++; return true }
		}, func(t *testing.T, o *office) {
			a := o.attach(c.request)
			if got := strings.Join(rang(all), " "); got != c.want {
				t.Errorf("%s: asked at %q, want %q", name, got, c.want)
			}
			if c.want == "" {
				if r := o.outcome(a); r.State != hold.NotEnrolled || r.Detail != hold.DetailOwnFactor || told != 1 {
					t.Errorf("%s: %v (%s), escalated %d times; want a technician", name, r.State, r.Detail, told)
				}
				return
			}
			a.Leave(false)
		})
	}
}

func only(r hold.Request, provider string) hold.Request {
	r.Decision.Requirement = &policy.Requirement{Approver: "requester", Providers: []string{provider}}
	return r
}

func both(a, b hold.Request) hold.Request {
	a.Operations = append(a.Operations, b.Operations...)
	return a
}

func plain(r hold.Request) hold.Request {
	r.Operations[0].ChangesFactor = false
	return r
}

func without(r hold.Request) hold.Request {
	r.Subject.Requester.ObjectID = ""
	return r
}

func TestWhereTheOtherFactorIsNotEnrolledATechnicianHasToDoIt(t *testing.T) {
	for _, c := range []struct {
		other providers.Verdict
		want  hold.State
	}{{providers.NotEnrolled, hold.NotEnrolled}, {providers.Unavailable, hold.Unavailable}} {
		var all map[string]*phone
		inOffice(t, func(op *hold.Options) {
			all = phones(op, hold.Named{Name: "m365", Factors: []string{"microsoft-graph"}}, hold.Named{Name: "duo", Verifier: &phone{start: says(c.other)}})
		}, func(t *testing.T, o *office) {
			r := o.outcome(o.attach(changing("microsoft-graph", "user", "alice@contoso.com")))
			if r.State != c.want || len(rang(all)) != 0 || (r.Detail == hold.DetailOwnFactor) != (c.want == hold.NotEnrolled) {
				t.Errorf("%v: %v (%s), asked at %v; want %v", c.other, r.State, r.Detail, rang(all), c.want)
			}
		})
	}
}

func TestAMapThatFailsProvesNobodyToBeSomebodyElse(t *testing.T) {
	var all map[string]*phone
	inOffice(t, func(op *hold.Options) {
		all = phones(op, hold.Named{Name: "m365", Factors: []string{"microsoft-graph"}},
			hold.Named{Name: "broken", Factors: []string{"microsoft-graph"}, Map: func(providers.Person) (providers.Person, bool) { panic("secret") }},
			hold.Named{Name: "duo"})
	}, func(t *testing.T, o *office) {
		a := o.attach(changing("microsoft-graph", "user", "bob@contoso.com"))
		if got := rang(all); !slices.Equal(got, []string{"duo"}) {
			t.Errorf("asked at %v, want duo", got)
		}
		a.Leave(false)
	})
}
