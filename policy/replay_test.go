package policy_test

import (
	"slices"
	"testing"
	"time"

	"countersign/policy"
)

// what a journal does not keep.
var lost = []string{"request.body", "request.headers", "request.query", "subject.requester.claims"}

func replay(t *testing.T, module string, in policy.Input, missing ...string) policy.Replayed {
	t.Helper()
	r, err := engine(t, module).Replay(t.Context(), in, now, missing...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAReplayKnowsWhatARuleLookedForInVain(t *testing.T) {
	const deny = "package countersign.rules\n\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if "
	for name, c := range map[string]struct {
		module string
		want   []string // paths
	}{
		"nothing":                   {"", nil},
		"what is there":             {deny + `input.operation.name == "user.password.reset"`, nil},
		"the body":                  {deny + `input.request.body.passwordProfile`, []string{"request.body"}},
		"the body, by an index":     {deny + `input.request.body.kind == "x"`, []string{"request.body"}},
		"the body, after the name":  {deny + "{\n\tinput.operation.name == \"user.delete\"\n\tinput.request.body.x\n}", nil},
		"the body, negated":         {deny + `not input.request.body.x`, []string{"request.body"}},
		"the body, in a helper":     {deny + "seen\n\nseen if input.request.body.x", []string{"request.body"}},
		"the body, in a function":   {deny + "seen(input.request)\n\nseen(r) if r.body.x", []string{"request.body", "request.headers", "request.query"}},
		"the input as a whole":      {deny + "seen(input)\n\nseen(i) if i.request.body.x", lost},
		"any part of the request":   {deny + "{\n\tsome part\n\tinput.request[part].x\n}", []string{"request.body", "request.headers", "request.query"}},
		"a comprehension":           {deny + `count({k | some k in input.request.query}) > 0`, []string{"request.query"}},
		"the reason's text":         {"package countersign.rules\n\ndeny contains {\"code\": \"x\", \"text\": sprintf(\"%v\", [input.request.body])}", []string{"request.body"}},
		"claims in an exemption":    {"package countersign.rules\n\nexempt contains {\"code\": \"x\", \"text\": \"y\"} if \"a\" in input.subject.requester.claims.groups", []string{"subject.requester.claims"}},
		"an exemption for somebody": {"package countersign.rules\n\nexempt contains {\"code\": \"x\", \"text\": \"y\"} if input.subject.requester.id == \"a\"", nil},
		"a requirement":             {"package countersign.rules\n\nrequirement contains {\"providers\": [\"duo\"]} if input.request.headers.x", []string{"request.headers"}},
	} {
		var got []string
		for _, u := range replay(t, c.module, reset(), lost...).Unknown {
			if u.Line == 0 || u.File == "" {
				t.Errorf("%s: without a place: %+v", name, u)
			}
			if !slices.Contains(got, u.Path) {
				got = append(got, u.Path)
			}
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: unknown = %v, want %v", name, got, c.want)
		}
	}
}

func TestAReplayDecidesAtItsOwnTime(t *testing.T) {
	e := engine(t, `package countersign.rules
deny contains {"code": "x", "text": "y"} if startswith(input.context.time, "2026-01-01")`)
	for at, want := range map[time.Time]policy.Effect{now: policy.StepUp, time.Date(2026, 1, 1, 5, 0, 0, 0, time.UTC): policy.Deny} {
		if r, err := e.Replay(t.Context(), reset(), at); err != nil || r.Decision.Effect != want || r.Unknown != nil {
			t.Errorf("at %v: %+v, %v; want %v", at, r, err, want)
		}
	}
}

func TestAReplayOfABrokenRuleDenies(t *testing.T) {
	if r := replay(t, "package countersign.rules\ndeny contains \"x\" if true", read(), lost...); r.Decision.Effect != policy.Deny {
		t.Errorf("Replay = %+v", r)
	}
}
