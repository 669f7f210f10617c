package microsoft365_test

import (
	"context"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365"
)

const (
	kim = "kim@contoso.com"
	lee = "lee@contoso.com"
)

func question(p providers.Person) providers.Challenge {
	return providers.Challenge{HoldID: "3f6c0c4e2b0f4e0b9d7a1c2d3e4f5a6b", Person: p, Title: "Reset the password of bob@contoso.com", Code: "7Q4M"}
}

// ask starts and, if the person was asked, waits.
func (r *rig) ask(v *microsoft365.Verifier, upn string) providers.Outcome {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Minute)
	defer cancel()
	a, err := v.Start(ctx, question(providers.Person{ID: upn}))
	if err != nil {
		r.Logf("Start = %v", err)
		return providers.Outcome{Detail: "start failed"}
	}
	if !a.Asked {
		return a.Outcome
	}
	out, err := v.Wait(ctx, a.Transaction)
	if err != nil {
		r.Logf("Wait = %v", err)
		return providers.Outcome{Detail: "wait failed"}
	}
	return out
}

func (r *rig) script(upn string, s entra.Script) {
	r.Helper()
	if err := r.sim.Script(upn, s); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) pushed(upn string, want int) {
	r.Helper()
	if got := len(r.sim.PushesTo(upn)); got != want {
		r.Errorf("%s got %d pushes, want %d", upn, got, want)
	}
}

func (r *rig) person(p entra.Person) {
	r.Helper()
	if err := r.sim.AddPerson(p); err != nil {
		r.Fatal(err)
	}
}
