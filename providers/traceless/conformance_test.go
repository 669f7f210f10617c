package traceless_test

import (
	"testing"
	"time"

	sim "countersign/internal/sim/traceless"
	"countersign/providers"
	"countersign/providers/providertest"
	"countersign/providers/traceless"
)

const (
	org    = "0b7c6f5e-3a51-4c0e-9d6c-2f1c7f0f8a11"
	secret = "s3cr3t-signing-key-of-the-organization"
	alice  = providertest.Alice
	bob    = providertest.Bob
)

func TestTracelessKeepsTheContractOfVerifiers(t *testing.T) {
	providertest.Run(t, providertest.Harness{Start: startRig, Secrets: []string{secret, secret[:12], "X-Traceless"}, Patience: 6 * time.Minute})
}

func startRig(t *testing.T) providertest.Rig {
	open, s := bubble(t, sim.Script{}, nil)
	s.Add(bob, sim.Script{})
	return providertest.Rig{Service: service{t, s}, Open: func() providers.Verifier { return open(nil) }}
}

// bubble starts a service in memory, which knows alice, and returns how to open Verifiers for it.
func bubble(t *testing.T, script sim.Script, change func(*sim.Options)) (open func(change func(*traceless.Options)) *traceless.Verifier, s *sim.Server) {
	t.Helper()
	net := providertest.Listen()
	so := sim.Options{Organization: org, SigningSecret: secret, Listener: net}
	if change != nil {
		change(&so)
	}
	s, err := sim.Start(so)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Add(alice, script)
	return func(change func(*traceless.Options)) *traceless.Verifier {
		o := options(s)
		if change != nil {
			change(&o)
		}
		v, err := traceless.OpenDialing(o, net.Dial)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}, s
}

func options(s *sim.Server) traceless.Options {
	return traceless.Options{
		Endpoint: s.Endpoint(), Organization: s.Organization(), SigningSecret: traceless.Secret(s.SigningSecret()),
		PushMethod: traceless.DuoPush, RootCAs: s.CertPool(),
	}
}

type service struct {
	t   *testing.T
	sim *sim.Server
}

func (s service) Pushes(person string) int { return pushes(s.sim, person) }

func pushes(s *sim.Server, person string) (n int) {
	for _, c := range s.Challenges() {
		if c.Email == person && c.Status != "bypassed" {
			n++
		}
	}
	return n
}

func (s service) Script(person string, script providertest.Script) {
	s.t.Helper()
	after := func(d time.Duration) sim.Script { return sim.Script{Status: "approved", After: d} }
	polls := func(plan sim.Script, faults ...sim.Fault) sim.Script {
		for _, f := range faults {
			f.Call = sim.PollCall
			plan.Faults = append(plan.Faults, f)
		}
		return plan
	}
	plans := map[providertest.Script]sim.Script{
		providertest.Approve: sim.Approve(), providertest.Deny: sim.Deny(), providertest.Ignore: sim.Ignore(),
		providertest.Fraud: sim.Fraud(), providertest.NotEnrolled: sim.NotEnrolled(), providertest.LockedOut: sim.LockedOut(),
		providertest.Bypass: {Bypass: true},
		providertest.Outage: polls(sim.Approve(), sim.Fault{Kind: sim.BadGateway}),
		providertest.Blip: polls(after(20*time.Second), sim.Fault{Kind: sim.ServerError, Times: 1}, sim.Fault{Kind: sim.Reset, Skip: 1, Times: 1},
			sim.Fault{Kind: sim.Throttled, Skip: 1, Times: 1, Delay: 2 * time.Second}, sim.Fault{Kind: sim.Truncated, Skip: 1, Times: 1},
			sim.Fault{Kind: sim.NotFound, Skip: 1, Times: 1}, sim.Fault{Kind: sim.WrongTransaction, Times: 1}),
		providertest.Slow:      after(115 * time.Second),
		providertest.Garbage:   polls(sim.Approve(), sim.Fault{Kind: sim.HTMLPage}),
		providertest.Unknown:   sim.Ends("approved_by_magic"),
		providertest.Late:      after(121 * time.Second),
		providertest.Throttled: {Faults: []sim.Fault{{Kind: sim.Throttled}}},
	}
	plan, ok := plans[script]
	if !ok {
		s.t.Fatalf("no plan for script %d", script)
	}
	if err := s.sim.Script(person, plan); err != nil {
		s.t.Fatal(err)
	}
}
