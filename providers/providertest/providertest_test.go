package providertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/providers"
	"countersign/providers/providertest"
)

// flawVar names the flaw that a child process of this test gives the provider in memory.
const flawVar = "PROVIDERTEST_FLAW"

const secret = "hunter2"

func TestAGoodProviderPasses(t *testing.T) {
	providertest.Run(t, providertest.Harness{
		Secrets: []string{secret},
		Start: func(*testing.T) providertest.Rig {
			m := &memory{flaw: os.Getenv(flawVar), scripts: map[string]providertest.Script{}, pushes: map[string]int{}, asks: map[string]ask{}}
			return providertest.Rig{Service: m, Open: func() providers.Verifier { return m }}
		},
	})
}

func TestEachFlawIsFound(t *testing.T) {
	if os.Getenv(flawVar) != "" {
		return // this is the child
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for flaw, found := range map[string]string{
		"pushes twice":           "a_yes_is_an_approval",
		"believes a bypass":      "a_bypass_is_no_proof",
		"believes any value":     "an_unknown_value_is_no_approval",
		"believes a late yes":    "a_late_yes_does_not_approve",
		"believes any id":        "an_unknown_transaction_is_no_approval",
		"ignores the context":    "a_waiter_that_leaves_is_let_go_at_once",
		"asks for nobody":        "nobody_is_asked_for_a_caller_that_left",
		"prints its secret":      "an_outage_is_no_approval",
		"mixes people up":        "two_people_do_not_mix",
		"answers once":           "an_answer_can_be_fetched_again",
		"claims methods on a no": "a_no_is_a_denial",
	} {
		t.Run(flaw, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestAGoodProviderPasses$/^"+found+"$")
			cmd.Env = append(os.Environ(), flawVar+"="+flaw)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestAGoodProviderPasses/"+found) {
				t.Errorf("the suite passed a provider that %s: %v\n%s", flaw, err, out)
			}
		})
	}
}

// memory is a provider and its service in one, without a wire between them.
type memory struct {
	flaw string

	mu      sync.Mutex
	scripts map[string]providertest.Script
	pushes  map[string]int
	asks    map[string]ask
	told    []string
}

type ask struct {
	script providertest.Script
	at     time.Time
}

var _ providers.Verifier = (*memory)(nil)

func (m *memory) Script(person string, s providertest.Script) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scripts[person] = s
}

func (m *memory) Pushes(person string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pushes[person]
}

func (m *memory) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	if ctx.Err() != nil && m.flaw != "asks for nobody" {
		return providers.Attempt{}, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	script, known := m.scripts[c.Person.ID]
	switch {
	case script == providertest.Bypass && m.flaw == "believes a bypass":
		return providers.Attempt{Outcome: yes()}, nil
	case !known, script == providertest.Bypass, script == providertest.Throttled:
		return providers.Attempt{}, nil
	case script == providertest.NotEnrolled:
		return providers.Attempt{Outcome: providers.Outcome{Verdict: providers.NotEnrolled}}, nil
	}
	m.pushes[c.Person.ID]++
	if m.flaw == "pushes twice" {
		m.pushes[c.Person.ID]++
	}
	tx := fmt.Sprintf("tx-%s-%d", c.Person.ID, m.pushes[c.Person.ID])
	if m.flaw == "mixes people up" {
		tx = "tx"
		script = providertest.Approve
	}
	m.asks[tx] = ask{script, time.Now()}
	return providers.Attempt{Asked: true, Transaction: tx}, nil
}

func yes() providers.Outcome {
	return providers.Outcome{Verdict: providers.Approved, AMR: []string{"user"}}
}

func (m *memory) Wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	m.mu.Lock()
	a, known := m.asks[transaction]
	twice := slices.Contains(m.told, transaction)
	m.told = append(m.told, transaction)
	m.mu.Unlock()
	if !known && m.flaw == "believes any id" {
		return yes(), nil
	}
	if !known || twice && m.flaw == "answers once" {
		return providers.Outcome{}, errors.New("no such transaction")
	}
	delay := map[providertest.Script]time.Duration{providertest.Slow: 50 * time.Second, providertest.Ignore: time.Minute, providertest.Late: time.Minute}[a.script]
	timer := time.NewTimer(time.Until(a.at.Add(delay + time.Second)))
	defer timer.Stop()
	if m.flaw == "ignores the context" {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case <-timer.C:
	case <-ctx.Done():
		return providers.Outcome{}, ctx.Err()
	}
	return m.verdict(a.script)
}

func (m *memory) verdict(s providertest.Script) (providers.Outcome, error) {
	switch s {
	case providertest.Approve, providertest.Slow, providertest.Blip:
		return yes(), nil
	case providertest.Deny:
		if m.flaw == "claims methods on a no" {
			return providers.Outcome{Verdict: providers.Denied, AMR: []string{"user"}}, nil
		}
		return providers.Outcome{Verdict: providers.Denied}, nil
	case providertest.Late:
		if m.flaw == "believes a late yes" {
			return yes(), nil
		}
		return providers.Outcome{Verdict: providers.TimedOut}, nil
	case providertest.Ignore:
		return providers.Outcome{Verdict: providers.TimedOut}, nil
	case providertest.Fraud:
		return providers.Outcome{Verdict: providers.Fraud}, nil
	case providertest.LockedOut:
		return providers.Outcome{Verdict: providers.LockedOut}, nil
	case providertest.Unknown:
		if m.flaw == "believes any value" {
			return yes(), nil
		}
		return providers.Outcome{}, nil
	default:
		if m.flaw == "prints its secret" {
			return providers.Outcome{}, errors.New("key " + secret + " was refused")
		}
		return providers.Outcome{}, errors.New("out of order")
	}
}
