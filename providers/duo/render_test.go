package duo_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	duosim "countersign/internal/sim/duo"
	"countersign/providers"
)

// shown is what the phone shows for a challenge.
func shown(t *testing.T, c providers.Challenge) duosim.Push {
	t.Helper()
	sim := startSim(t, duosim.Approve())
	if a, err := open(t, options(sim)).Start(t.Context(), c); err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	return sim.Pushes()[0]
}

func TestAPushShowsTheChallengeInItsOrder(t *testing.T) {
	c := challenge()
	c.Code = "7Q4M"
	c.Fields = []providers.Field{{Name: "Operation", Value: "user.password.reset"}, {Name: "Account", Value: "bob+test@example.com & co = 100%"}, {Value: "no name"}}
	p := shown(t, c)
	if p.Type != c.Title {
		t.Errorf("type = %q, want %q", p.Type, c.Title)
	}
	want := []duosim.Pair{{Name: "Code", Value: "7Q4M"}, {Name: "Operation", Value: "user.password.reset"},
		{Name: "Account", Value: "bob+test@example.com & co = 100%"}, {Name: "Detail", Value: "no name"}, {Name: "Reference", Value: "h1"}}
	if fmt.Sprint(p.Info) != fmt.Sprint(want) {
		t.Errorf("pushinfo = %q, want %q", p.Info, want)
	}
}

func TestALongTitleIsShownWholeBelowTheHeading(t *testing.T) {
	c := challenge()
	c.Title = "Give the role Global Administrator in contoso.example to mallory@example.com"
	p := shown(t, c)
	if !strings.HasSuffix(p.Type, "…") || utf8.RuneCountInString(p.Type) > 60 {
		t.Errorf("type = %q, want a short heading that says so", p.Type)
	}
	if p.Info[0] != (duosim.Pair{Name: "Request", Value: c.Title}) {
		t.Errorf("first line = %q, want the whole title", p.Info[0])
	}
}

func TestWhatDoesNotFitIsSaidNotToFit(t *testing.T) {
	c := challenge()
	c.Fields = []providers.Field{{Name: "Long", Value: strings.Repeat("x", 5000)}}
	for i := range 400 {
		c.Fields = append(c.Fields, providers.Field{Name: fmt.Sprint(i), Value: strings.Repeat("é", 100)})
	}
	p := shown(t, c) // the simulator refuses pushinfo of 20,000 bytes
	if v := p.Info[0].Value; !strings.HasSuffix(v, "(shortened)") || len(v) > 700 {
		t.Errorf("long value = %q…, want it to say that it is shortened", v[:20])
	}
	last := p.Info[len(p.Info)-1]
	if want := fmt.Sprintf("%d more lines do not fit", 402-(len(p.Info)-1)); last.Name != "Not shown" || last.Value != want {
		t.Errorf("last line = %q, want %q", last, want)
	}
}

func TestCharactersThatHideOrReorderAreMadeVisible(t *testing.T) {
	for in, want := range map[string]string{
		"a\u202eb": "a\ufffdb", "a\u200bb": "a\ufffdb", "a\x00b": "a\ufffdb", "a\x1b[2Jb": "a\ufffd[2Jb", "a\u3164b": "a\ufffdb",
		"a\u2066b": "a\ufffdb", "\ufeffa": "\ufffda", "a\r\n\tb": "a b", "  a\u00a0\u00a0b  ": "a b", "a\xffb": "a\ufffdb", "a\u2028b": "a b",
		"naïve 日本 🙂": "naïve 日本 🙂", "a\ufe0fb": "a\ufffdb", "a\u20ddb": "a\ufffdb",
	} {
		c := challenge()
		c.Fields = []providers.Field{{Name: "N", Value: in}}
		if got := shown(t, c).Info[0].Value; got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}
