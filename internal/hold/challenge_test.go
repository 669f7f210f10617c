package hold_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"countersign/internal/hold"
	"countersign/policy"
	"countersign/providers"
)

func shown(t *testing.T, o *office, r hold.Request) providers.Challenge {
	t.Helper()
	o.attach(r).Leave(false)
	o.phone.count()
	o.phone.mu.Lock()
	defer o.phone.mu.Unlock()
	return o.phone.pushes[len(o.phone.pushes)-1]
}

func field(c providers.Challenge, name string) string {
	for _, f := range c.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func TestTheChallengeSaysWhatIsApproved(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		c := shown(t, o, request(0))
		want := "Reset the password of bob@contoso.com"
		if c.Title != want || c.Person.ID != "alice@contoso.com" {
			t.Errorf("title %q for %q", c.Title, c.Person.ID)
		}
		for name, want := range map[string]string{"Operation": want, "Target": "bob@contoso.com", "Ticket": "T-1", "Agent": "helpdesk-1",
			"Reference": c.HoldID[:8], "Expires": time.Now().Add(5 * time.Minute).UTC().Format("15:04:05 MST")} {
			if got := field(c, name); got != want {
				t.Errorf("%s = %q, want %q", name, got, want)
			}
		}
	})
}

func TestNothingInAChallengeReadsAsSomethingElse(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		r := request(0)
		r.Summary = "Reset\n\tthe \u202epassword\u2066 of\x1b[2J bob\u200b\xff"
		r.Subject.Ticket = "T-1\r\nOperation: harmless"
		r.Operations[0].Summary = strings.Repeat("ж", 500)
		c := shown(t, o, r)
		if want := "Reset the \uFFFDpassword\uFFFD of\uFFFD[2J bob\uFFFD\uFFFD"; c.Title != want {
			t.Errorf("title %q, want %q", c.Title, want)
		}
		if got := field(c, "Ticket"); got != "T-1 Operation: harmless" {
			t.Errorf("ticket %q", got)
		}
		op := field(c, "Operation")
		if !strings.HasSuffix(op, "[shortened]") || utf8.RuneCountInString(op) > 240 || !utf8.ValidString(op) {
			t.Errorf("a long operation reads %q", op)
		}
	})
}

func TestABatchIsShownWhole(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		r := request(0)
		r.Operations = nil
		for i := range 5 {
			r.Operations = append(r.Operations, policy.Operation{Name: "user.delete", Resource: policy.Resource{ID: fmt.Sprintf("u%d", i)}})
		}
		c := shown(t, o, r)
		if got := field(c, "Operation 5 of 5"); got != "user.delete" {
			t.Errorf("the last operation reads %q", got)
		}
		if got := field(c, "Target"); got != "u0, u1, u2, u3, u4" {
			t.Errorf("targets read %q", got)
		}
	})
}
