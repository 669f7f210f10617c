// Package providertest holds one conformance suite for everything that implements providers.Verifier. A provider's
// own tests give it a simulated service and a way to script people; what the contract promises is checked here, the
// same for all.
//
// Every case runs in a bubble of testing/synctest, so that minutes of waiting take no time and a goroutine left behind
// fails the test. Real sockets do not work there: let the simulator listen on a Listener of this package and dial it.
package providertest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/providers"
)

// Script is what a person, or the service on the way to them, does when asked.
type Script uint8

// The scripts. A service plays each as it really would: by its own statuses, codes and delays.
const (
	Approve     Script = iota // answers yes
	Deny                      // answers no
	Ignore                    // never answers; the service gives up by itself
	Fraud                     // says that the request was not theirs
	NotEnrolled               // has no factor that can be asked
	LockedOut                 // is locked out
	Bypass                    // is let through by the service without being asked
	Outage                    // the service is down for the whole time
	Blip                      // answers yes, while polls fail now and then
	Slow                      // answers yes, shortly before the service gives up
	Garbage                   // the service answers with what is not its protocol
	Unknown                   // the service answers with a value nobody has heard of
	Late                      // answers yes after the service gave up
	Throttled                 // the service refuses for its rate limit
)

// People who exist in every simulated service.
const (
	Alice = "alice@example.com"
	Bob   = "bob@example.com"
)

// Service is the simulated service behind a Verifier, which knows Alice and Bob.
type Service interface {
	// Script sets what a person does from now on.
	Script(person string, s Script)
	// Pushes counts the prompts that were sent to a person.
	Pushes(person string) int
}

// Rig is one Verifier with its own service.
type Rig struct {
	Service Service
	// Open makes another Verifier for the same service, as a restarted process would.
	Open func() providers.Verifier
}

// Harness says how to test a provider.
type Harness struct {
	// Start makes a Rig inside the bubble of one case, and cleans it up with t.Cleanup.
	Start func(t *testing.T) Rig
	// Secrets must not appear in any error or outcome.
	Secrets []string
	// Patience is how long a caller waits; longer than the service's own limit. 0: five minutes.
	Patience time.Duration
	// Without lists scripts that the service has no way to play.
	Without []Script
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Patience == 0 {
		h.Patience = 5 * time.Minute
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if slices.ContainsFunc(c.scripts, func(s Script) bool { return slices.Contains(h.Without, s) }) {
				return // declared by the provider: its service cannot do this
			}
			synctest.Test(t, func(t *testing.T) {
				rig := h.Start(t)
				c.run(&trial{T: t, h: h, Rig: rig, v: rig.Open()})
			})
		})
	}
}

// trial is one case being run.
type trial struct {
	*testing.T
	h Harness
	Rig
	v providers.Verifier
}

// patience returns a context that ends when a caller would have lost patience.
func (t *trial) patience() context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), t.h.Patience)
	t.Cleanup(cancel)
	return ctx
}

func challenge(person string) providers.Challenge {
	return providers.Challenge{
		HoldID: "3f6c0c4e2b0f4e0b9d7a1c2d3e4f5a6b", Person: providers.Person{ID: person},
		Title:  "Reset the password of carol@example.com",
		Fields: []providers.Field{{Name: "Operation", Value: "user.password.reset"}, {Name: "Ticket", Value: "T-1042"}},
		Code:   "7Q4M",
	}
}

// start calls Start and checks what holds for each of its results.
func (t *trial) start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	t.Helper()
	a, err := t.v.Start(ctx, c)
	t.discreet(err, a.Transaction, a.Outcome.Detail)
	switch {
	case a.Outcome.Verdict == providers.Approved:
		t.Errorf("Start approved by itself: %+v", a)
	case err != nil && a.Asked:
		t.Errorf("Start says both that it asked and that it failed: %v", err)
	case err == nil && a.Asked && a.Transaction == "":
		t.Errorf("Start asked and does not name the transaction")
	}
	return a, err
}

// wait calls Wait and checks what holds for each of its results.
func (t *trial) wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	t.Helper()
	return t.waitBy(ctx, t.v, transaction)
}

func (t *trial) waitBy(ctx context.Context, v providers.Verifier, transaction string) (providers.Outcome, error) {
	t.Helper()
	out, err := v.Wait(ctx, transaction)
	t.discreet(err, out.Detail)
	switch approved := out.Verdict == providers.Approved; {
	case err != nil && approved:
		t.Errorf("Wait both failed and approved: %v", err)
	case !approved && len(out.AMR) > 0:
		t.Errorf("AMR = %v with verdict %v, want none", out.AMR, out.Verdict)
	case approved && len(out.AMR) == 0:
		t.Errorf("an approval names no method")
	}
	return out, err
}

// ask starts and, if the person was asked, waits.
func (t *trial) ask(ctx context.Context, person string) (providers.Outcome, error) {
	t.Helper()
	a, err := t.start(ctx, challenge(person))
	if err != nil || !a.Asked {
		return a.Outcome, err
	}
	return t.wait(ctx, a.Transaction)
}

// asked starts and insists that the person was asked.
func (t *trial) asked(person string) string {
	t.Helper()
	a, err := t.start(t.patience(), challenge(person))
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v; want somebody asked", a, err)
	}
	return a.Transaction
}

// discreet checks that no secret is in what a caller may log.
func (t *trial) discreet(err error, texts ...string) {
	t.Helper()
	if err != nil {
		texts = append(texts, err.Error())
	}
	for _, secret := range t.h.Secrets {
		for _, text := range texts {
			if secret != "" && strings.Contains(text, secret) {
				t.Errorf("a secret is in %q", text)
			}
		}
	}
}

// pushed checks how often a person's phone rang.
func (t *trial) pushed(person string, want int) {
	t.Helper()
	if got := t.Service.Pushes(person); got != want {
		t.Errorf("%s got %d pushes, want %d", person, got, want)
	}
}
