package providertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"countersign/providers"
)

type testCase struct {
	name    string
	scripts []Script // that it needs
	run     func(*trial)
}

var cases = []testCase{
	answers("a yes is an approval", Approve, providers.Approved, 1),
	answers("a slow yes is an approval", Slow, providers.Approved, 1),
	answers("a yes between failing polls is an approval", Blip, providers.Approved, 1),
	answers("a no is a denial", Deny, providers.Denied, 1),
	answers("silence times out by itself", Ignore, providers.TimedOut, 1),
	answers("a fraud report is told apart", Fraud, providers.Fraud, 1),
	answers("a person without a factor is not enrolled", NotEnrolled, providers.NotEnrolled, 0),
	answers("a locked person is locked out", LockedOut, providers.LockedOut, -1),
	noProof("a bypass is no proof", Bypass),
	noProof("an outage is no approval", Outage),
	noProof("garbage is no approval", Garbage),
	noProof("an unknown value is no approval", Unknown),
	noProof("a throttled ask is no approval", Throttled),
	{"a late yes does not approve", []Script{Late}, late},
	{"a waiter that leaves is let go at once", []Script{Ignore}, cancelled},
	{"a deadline ends the wait", []Script{Ignore}, deadline},
	{"nobody is asked for a caller that left", []Script{Approve}, leftBefore},
	{"nobody is asked when nobody is named", nil, nobody},
	{"two people do not mix", []Script{Approve, Deny}, twoPeople},
	{"an unknown transaction is no approval", nil, unknownTransaction},
	{"an answer can be fetched again", []Script{Approve, Deny}, again},
	{"an answer can be fetched by another process", []Script{Approve}, restarted},
	{"many ask at once", []Script{Approve, Deny}, many},
	{"hostile text is shown, not obeyed", []Script{Approve}, hostile},
	{"credentials can be checked without asking", nil, checked},
	{"an account is told without asking", []Script{Approve}, account},
}

// account checks that names lead to accounts in one way only. A Verifier that is no Accounter has nothing to show.
func account(t *trial) {
	v, ok := t.v.(providers.Accounter)
	if !ok {
		return
	}
	found := map[string]providers.Person{}
	for _, name := range []string{Alice, strings.ToUpper(Alice), Bob} {
		a, err := v.Account(t.patience(), providers.Person{ID: name})
		t.discreet(err, a.ID, a.ObjectID)
		if err != nil || a.ID == "" && a.ObjectID == "" {
			t.Errorf("Account of %s = %+v, %v; want one", name, a, err)
			continue
		}
		if again, err := v.Account(t.patience(), a); err != nil || again != a {
			t.Errorf("the account's own account is %+v, %v; want %+v", again, err, a)
		}
		found[name] = providers.Person{ID: strings.ToLower(a.ID), ObjectID: a.ObjectID, TenantID: a.TenantID}
	}
	if found[Alice] != found[strings.ToUpper(Alice)] || found[Alice] == found[Bob] {
		t.Errorf("accounts are %+v; want one for Alice in either case, another for Bob", found)
	}
	if a, err := v.Account(t.patience(), providers.Person{}); err == nil {
		t.Errorf("nobody has the account %+v", a)
	}
	left, cancel := context.WithCancel(t.patience())
	cancel()
	if a, err := v.Account(left, providers.Person{ID: Alice}); err == nil {
		t.Errorf("a caller that left was told the account %+v", a)
	}
	t.pushed(Alice, 0)
	t.pushed(Bob, 0)
}

// answers makes a case for a script with one right verdict. pushes below 0 means one at most.
func answers(name string, s Script, want providers.Verdict, pushes int) testCase {
	return testCase{name, []Script{s}, func(t *trial) {
		t.Service.Script(Alice, s)
		before := time.Now()
		out, err := t.ask(t.patience(), Alice)
		if err != nil || out.Verdict != want {
			t.Errorf("verdict = %v, %v; want %v", out.Verdict, err, want)
		}
		if !out.At.IsZero() && (out.At.Before(before) || out.At.After(time.Now())) {
			t.Errorf("At = %v, which is not between the question and now", out.At)
		}
		if pushes >= 0 {
			t.pushed(Alice, pushes)
		} else if n := t.Service.Pushes(Alice); n > 1 {
			t.Errorf("%d pushes, want one at most", n)
		}
		t.pushed(Bob, 0)
	}}
}

// noProof makes a case for a script after which nobody may believe that the person agreed.
func noProof(name string, s Script) testCase {
	return testCase{name, []Script{s}, func(t *trial) {
		t.Service.Script(Alice, s)
		out, err := t.ask(t.patience(), Alice)
		if out.Verdict != providers.Unavailable {
			t.Errorf("verdict = %v, %v; want unavailable or an error", out.Verdict, err)
		}
		if n := t.Service.Pushes(Alice); n > 1 {
			t.Errorf("%d pushes, want one at most", n)
		}
	}}
}

func late(t *trial) {
	t.Service.Script(Alice, Late)
	tx := t.asked(Alice)
	for range 2 {
		if out, err := t.wait(t.patience(), tx); out.Verdict == providers.Approved {
			t.Errorf("verdict = %v, %v; want no approval", out.Verdict, err)
		}
	}
	t.pushed(Alice, 1)
}

func cancelled(t *trial) {
	t.Service.Script(Alice, Ignore)
	tx := t.asked(Alice)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const after = 7 * time.Second
	time.AfterFunc(after, cancel)
	began := time.Now()
	_, err := t.wait(ctx, tx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	if took := time.Since(began); took < after || took > after+time.Second {
		t.Errorf("Wait returned after %v, want %v", took, after)
	}
}

func deadline(t *trial) {
	t.Service.Script(Alice, Ignore)
	tx := t.asked(Alice)
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	began := time.Now()
	_, err := t.wait(ctx, tx)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v, want context.DeadlineExceeded", err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("Wait returned after %v, want 7s", took)
	}
}

func leftBefore(t *trial) {
	t.Service.Script(Alice, Approve)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := t.start(ctx, challenge(Alice)); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	t.pushed(Alice, 0)
}

func nobody(t *trial) {
	a, err := t.start(t.patience(), challenge(""))
	if a.Asked {
		t.Errorf("Start(nobody) = %+v, %v; want nobody asked", a, err)
	}
	t.pushed(Alice, 0)
	t.pushed(Bob, 0)
}

func twoPeople(t *trial) {
	t.Service.Script(Alice, Approve)
	t.Service.Script(Bob, Deny)
	want := map[string]providers.Verdict{Alice: providers.Approved, Bob: providers.Denied}
	var wg sync.WaitGroup
	for person, verdict := range want {
		wg.Go(func() {
			out, err := t.ask(t.patience(), person)
			if err != nil || out.Verdict != verdict {
				t.Errorf("%s: verdict = %v, %v; want %v", person, out.Verdict, err, verdict)
			}
		})
	}
	wg.Wait()
	t.pushed(Alice, 1)
	t.pushed(Bob, 1)
}

func unknownTransaction(t *trial) {
	for _, tx := range []string{"", "no-such-transaction", "45f7c92b-f45f-4862-8545-e0f58e78075a", "../preauth?x=1&y=2", "a\r\nb", strings.Repeat("a", 1<<16)} {
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		out, err := t.wait(ctx, tx)
		cancel()
		if out.Verdict != providers.Unavailable {
			t.Errorf("Wait(%.20q) = %v, %v; want unavailable or an error", tx, out.Verdict, err)
		}
	}
}

func again(t *trial) {
	t.Service.Script(Alice, Approve)
	t.Service.Script(Bob, Deny)
	for _, person := range []string{Alice, Bob} {
		tx := t.asked(person)
		first, err := t.wait(t.patience(), tx)
		if err != nil {
			t.Fatalf("first Wait: %v", err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				next, err := t.wait(t.patience(), tx)
				if err != nil || next.Verdict != first.Verdict || !reflect.DeepEqual(next.AMR, first.AMR) {
					t.Errorf("later Wait = %+v, %v; want %+v", next, err, first)
				}
			})
		}
		wg.Wait()
		t.pushed(person, 1)
	}
}

func restarted(t *trial) {
	t.Service.Script(Alice, Approve)
	tx := t.asked(Alice)
	out, err := t.waitBy(t.patience(), t.Open(), tx)
	if err != nil || out.Verdict != providers.Approved {
		t.Errorf("verdict = %v, %v; want approved", out.Verdict, err)
	}
	t.pushed(Alice, 1)
}

func many(t *trial) {
	t.Service.Script(Alice, Approve)
	t.Service.Script(Bob, Deny)
	want := map[string]providers.Verdict{Alice: providers.Approved, Bob: providers.Denied}
	const each = 6
	var wg sync.WaitGroup
	for person, verdict := range want {
		for range each {
			wg.Go(func() {
				if out, err := t.ask(t.patience(), person); err != nil || out.Verdict != verdict {
					t.Errorf("%s: verdict = %v, %v; want %v", person, out.Verdict, err, verdict)
				}
			})
		}
	}
	wg.Wait()
	t.pushed(Alice, each)
	t.pushed(Bob, each)
}

func hostile(t *trial) {
	t.Service.Script(Alice, Approve)
	c := challenge(Alice)
	c.Title = "Reset\r\n\x00\u202e" + strings.Repeat("drowssap ", 10_000)
	c.Fields = append(c.Fields, providers.Field{}, providers.Field{Name: "a=b&c", Value: "%zz&device=other;+ \xff\xfe<b>&amp;"},
		providers.Field{Value: strings.Repeat("\U0001F469\u200d", 50_000)})
	for i := range 500 {
		c.Fields = append(c.Fields, providers.Field{Name: fmt.Sprint("line ", i), Value: strings.Repeat("é", 200)})
	}
	a, err := t.start(t.patience(), c)
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v; want somebody asked", a, err)
	}
	if out, err := t.wait(t.patience(), a.Transaction); err != nil || out.Verdict != providers.Approved {
		t.Errorf("verdict = %v, %v; want approved", out.Verdict, err)
	}
	t.pushed(Alice, 1)
}

func checked(t *trial) {
	if c, ok := t.v.(providers.Checker); ok {
		if err := c.Check(t.patience()); err != nil {
			t.Errorf("Check = %v, want nil", err)
		}
	}
	if c, ok := t.v.(providers.Capable); ok {
		known := map[string]bool{"text": true, "number_match": true, "phishing_resistant": true}
		for _, name := range c.Capabilities() {
			if !known[name] {
				t.Errorf("capability %q is not in the contract", name)
			}
		}
	}
	if l, ok := t.v.(providers.Limiter); ok && l.Limit() <= 0 {
		t.Errorf("Limit = %v, want more than nothing", l.Limit())
	}
	t.pushed(Alice, 0)
}
