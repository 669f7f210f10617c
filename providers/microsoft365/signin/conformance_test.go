package signin_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365/signin"
	"countersign/providers/providertest"
)

func TestSignInKeepsTheContractOfVerifiers(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		Start:   func(t *testing.T) providertest.Rig { return newPeople(t).service() },
		Secrets: []string{entra.DefaultClientSecret, "eyJ", "code="},
		// Whoever has no second factor, or is locked out, learns it on the sign-in page and never comes back from there.
		Without: []providertest.Script{providertest.NotEnrolled, providertest.LockedOut},
	})
}

// people open the links that they are given, and do what their scripts say.
type people struct {
	*rig
	wg sync.WaitGroup

	mu      sync.Mutex
	scripts map[string]providertest.Script
	links   map[string]int
}

func newPeople(t *testing.T) *people {
	p := &people{rig: newRig(t), scripts: map[string]providertest.Script{}, links: map[string]int{}}
	t.Cleanup(p.wg.Wait)
	return p
}

func (p *people) service() providertest.Rig {
	return providertest.Rig{Service: p, Open: func() providers.Verifier { return told{p.open(), p} }}
}

func (p *people) Pushes(person string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.links[person]
}

func (p *people) Script(person string, s providertest.Script) {
	p.mu.Lock()
	p.scripts[person] = s
	p.mu.Unlock()
	token := "/oauth2/v2.0/token"
	fault := func(f entra.Fault) {
		f.Host = entra.Login
		p.sim.Inject(f)
	}
	switch s {
	case providertest.Bypass: // a session that is there already, by a password
		p.sim.EverySignIn(&entra.SignIn{AuthAge: time.Hour, AMR: []string{"pwd"}})
	case providertest.Unknown:
		p.sim.EverySignIn(&entra.SignIn{AMR: []string{"approved_by_magic"}})
	case providertest.Outage:
		fault(entra.Fault{Kind: entra.BadGateway})
	case providertest.Garbage:
		fault(entra.Fault{Path: token, Kind: entra.HTMLPage})
	case providertest.Throttled:
		fault(entra.Fault{Path: token, Kind: entra.Throttled})
	case providertest.Blip:
		fault(entra.Fault{Path: token, Kind: entra.ServerError, Times: 1})
		fault(entra.Fault{Path: token, Kind: entra.Reset, Times: 1})
		fault(entra.Fault{Path: token, Kind: entra.Truncated, Times: 1})
	case providertest.Approve, providertest.Deny, providertest.Ignore, providertest.Fraud, providertest.Slow, providertest.Late:
	default:
		p.Fatalf("no plan for script %d", s)
	}
}

// told is the Verifier, and somebody who passes the link on to the person.
type told struct {
	*signin.Verifier
	people *people
}

func (v told) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	a, err := v.Verifier.Start(ctx, c)
	if err == nil && a.Asked {
		v.people.tell(c.Person.ID, a)
	}
	return a, err
}

func (p *people) tell(person string, a providers.Attempt) {
	p.mu.Lock()
	p.links[person]++
	script := p.scripts[person]
	p.mu.Unlock()
	tries, wait := 1, 5*time.Second
	button := "approve"
	switch script {
	case providertest.Deny:
		button = "deny"
	case providertest.Fraud:
		button = "report"
	case providertest.Ignore:
		return
	case providertest.Slow:
		wait = 175 * time.Second
	case providertest.Late:
		wait = 181 * time.Second
	case providertest.Blip:
		tries = 4
	}
	p.after(&p.wg, wait, func() {
		b := p.browser()
		for range tries {
			if script == providertest.Late {
				b.get(a.URL).shows(p.T, 410, "Too late")
				return
			}
			b.get(b.signIn(b.press(a.URL, button), person, true))
		}
	})
}
