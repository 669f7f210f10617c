package duo_test

import (
	"testing"
	"time"

	duosim "countersign/internal/sim/duo"
	"countersign/providers"
	"countersign/providers/duo"
	"countersign/providers/providertest"
)

const (
	ikey = "DIXXXXXXXXXXXXXXXXXX"
	skey = "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
)

func TestDuoKeepsTheContractOfVerifiers(t *testing.T) {
	secrets := []string{skey, skey[:20], "Basic ", "Authorization"}
	t.Run("plain pushes", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{Start: func(t *testing.T) providertest.Rig { return startRig(t, false) }, Secrets: secrets})
	})
	t.Run("verified pushes", func(t *testing.T) {
		providertest.Run(t, providertest.Harness{Start: func(t *testing.T) providertest.Rig { return startRig(t, true) }, Secrets: secrets})
	})
}

func startRig(t *testing.T, verified bool) providertest.Rig {
	net := providertest.Listen()
	sim, err := duosim.Start(duosim.Options{IntegrationKey: ikey, SecretKey: skey, Listener: net})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	for _, who := range []string{providertest.Alice, providertest.Bob} {
		sim.Add(duosim.Person{Username: who, Script: duosim.Script{VerifiedPush: verified}})
	}
	return providertest.Rig{Service: service{t, sim, verified}, Open: func() providers.Verifier {
		v, err := duo.OpenDialing(duo.Options{
			Host: sim.Host(), IntegrationKey: ikey, SecretKey: skey, RootCAs: sim.CertPool(), VerifiedPush: verified,
		}, net.Dial)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}}
}

type service struct {
	t        *testing.T
	sim      *duosim.Server
	verified bool
}

func (s service) Pushes(person string) int {
	n := 0
	for _, p := range s.sim.Pushes() {
		if p.Username == person {
			n++
		}
	}
	return n
}

func (s service) Script(person string, script providertest.Script) {
	s.t.Helper()
	const polls = "/auth/v2/auth_status"
	after := func(d time.Duration) duosim.Script { return duosim.Script{Result: "allow", Status: "allow", After: d} }
	var plan duosim.Script
	switch script {
	case providertest.Approve:
		plan = duosim.Approve()
	case providertest.Deny:
		plan = duosim.Deny()
	case providertest.Ignore:
		plan = duosim.Ignore()
	case providertest.Fraud:
		plan = duosim.Fraud()
	case providertest.NotEnrolled:
		plan = duosim.Enroll()
	case providertest.LockedOut:
		plan = duosim.LockedOut()
	case providertest.Bypass:
		plan = duosim.Bypass()
	case providertest.Outage:
		plan = duosim.Approve()
		plan.Faults = []duosim.Fault{{Path: polls, Kind: duosim.BadGateway}}
	case providertest.Blip:
		plan = after(20 * time.Second)
		plan.PollEnds = true
		plan.Faults = []duosim.Fault{
			{Path: polls, Kind: duosim.ServerError, Times: 1}, {Path: polls, Kind: duosim.Reset, Skip: 1, Times: 1},
			{Path: polls, Kind: duosim.Throttled, Skip: 1, Times: 1}, {Path: polls, Kind: duosim.Truncated, Skip: 1, Times: 1},
		}
	case providertest.Slow:
		plan = after(55 * time.Second)
		plan.Waiting = 4
	case providertest.Garbage:
		plan = duosim.Approve()
		plan.Faults = []duosim.Fault{{Path: polls, Kind: duosim.HTMLPage}}
	case providertest.Unknown:
		plan = duosim.Unknown("allow", "approved_by_magic")
	case providertest.Late:
		plan = after(61 * time.Second)
	case providertest.Throttled:
		plan = duosim.Throttle()
	default:
		s.t.Fatalf("no plan for script %d", script)
	}
	plan.VerifiedPush = s.verified
	if err := s.sim.Script(person, plan); err != nil {
		s.t.Fatal(err)
	}
}
