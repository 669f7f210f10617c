package duo_test

import (
	"errors"
	"slices"
	"testing"

	duosim "countersign/internal/sim/duo"
	"countersign/providers"
	"countersign/providers/duo"
)

func verifying(sim *duosim.Server) duo.Options {
	o := options(sim)
	o.VerifiedPush = true
	return o
}

func TestAVerifiedPushReturnsItsCodeAndIsApprovedByItAlone(t *testing.T) {
	sim := startSim(t, duosim.Script{VerifiedPush: true})
	v := open(t, verifying(sim))
	if got := v.Capabilities(); !slices.Equal(got, []string{"text", "number_match"}) {
		t.Errorf("Capabilities = %v", got)
	}
	a, err := v.Start(t.Context(), challenge())
	if err != nil || !a.Asked || len(a.Code) != 6 {
		t.Fatalf("Start = %+v, %v; want a code", a, err)
	}
	if p := sim.Pushes()[0]; !p.Verified || slices.ContainsFunc(p.Info, func(l duosim.Pair) bool { return l.Value == a.Code }) {
		t.Errorf("push = %+v, want a verified one that does not show its code", p)
	}
	for _, typed := range []string{"", "000", a.Code + "0"} {
		if err := sim.AnswerCode(a.Transaction, "approve", typed); !errors.Is(err, duosim.ErrCode) {
			t.Errorf("approved with %q: %v", typed, err)
		}
	}
	if err := sim.AnswerCode(a.Transaction, "approve", a.Code); err != nil {
		t.Fatal(err)
	}
	if out, err := v.Wait(t.Context(), a.Transaction); err != nil || out.Verdict != providers.Approved {
		t.Errorf("Wait = %+v, %v; want approved", out, err)
	}
}

func TestAVerifiedPushIsDeclinedWithoutACode(t *testing.T) {
	for answer, want := range map[string]providers.Verdict{"deny": providers.Denied, "fraud": providers.Fraud} {
		sim := startSim(t, duosim.Script{VerifiedPush: true})
		v := open(t, verifying(sim))
		a, err := v.Start(t.Context(), challenge())
		if err != nil || !a.Asked {
			t.Fatalf("Start = %+v, %v", a, err)
		}
		if err := sim.Answer(a.Transaction, answer); err != nil {
			t.Fatal(err)
		}
		if out, err := v.Wait(t.Context(), a.Transaction); err != nil || out.Verdict != want {
			t.Errorf("Wait = %+v, %v; want %v", out, err, want)
		}
	}
}

func TestWherePolicyNeedsACodeNoPushGoesOutWithoutOne(t *testing.T) {
	needing := challenge()
	needing.Needs = []string{"number_match"}
	body := func(more string) duosim.Script {
		return spoilt(preauthPath, duosim.Fault{Kind: duosim.Raw, Status: 200,
			Body: `{"stat":"OK","response":{"result":"auth","devices":[{"device":"DP1","capabilities":["push"]}]` + more + `}}`})
	}
	for name, c := range map[string]struct {
		script    duosim.Script
		challenge providers.Challenge
		detail    string
	}{
		"Duo demands none":     {duosim.Approve(), needing, "no code demanded, and policy needs one"},
		"no transaction":       {body(`,"verification_code":"123456"`), challenge(), "malformed verification code"},
		"no code":              {body(`,"txid":"abc"`), challenge(), "malformed verification code"},
		"a code of letters":    {body(`,"txid":"abc","verification_code":"12a456"`), challenge(), "malformed verification code"},
		"a code with markup":   {body(`,"txid":"abc","verification_code":"<b>1</b>"`), challenge(), "malformed verification code"},
		"a code as a number":   {body(`,"txid":"abc","verification_code":123456`), challenge(), "malformed verification code"},
		"a long code":          {body(`,"txid":"abc","verification_code":"12345678901"`), challenge(), "malformed verification code"},
		"a crooked txid":       {body(`,"txid":"a b","verification_code":"123456"`), challenge(), "malformed verification code"},
		"Duo refuses the txid": {body(`,"txid":"abc","verification_code":"123456"`), challenge(), "push refused"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, c.script)
			a, err := open(t, verifying(sim)).Start(t.Context(), c.challenge)
			if err != nil || a.Asked || a.Code != "" || a.Outcome.Verdict != providers.Unavailable || a.Outcome.Detail != c.detail {
				t.Errorf("Start = %+v, %v; want nobody asked: %s", a, err, c.detail)
			}
			if n := len(sim.Pushes()); n != 0 {
				t.Errorf("%d pushes, want none", n)
			}
		})
	}
}

func TestAPlainPushStaysPlainWhereNoCodeIsDemanded(t *testing.T) {
	sim := startSim(t, duosim.Approve())
	a, err := open(t, verifying(sim)).Start(t.Context(), challenge())
	if err != nil || !a.Asked || a.Code != "" || sim.Pushes()[0].Verified {
		t.Errorf("Start = %+v, %v; want a plain push", a, err)
	}
}
