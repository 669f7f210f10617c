package hold_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/providers"
)

const theirObject = "8a0c5a3e-6a0d-4c8f-9a52-1f0c5b1d2e3f"

// directory is a phone whose service knows people by object ids, as far as the test says.
type directory struct {
	*phone
	of func(p providers.Person) (providers.Person, error)
}

func (d directory) Account(_ context.Context, p providers.Person) (providers.Person, error) {
	return d.of(p)
}

// oneAccount are the ways in which two names come to one account.
var oneAccount = map[string]func(op *hold.Options){
	"a table with a user name": mapped(func(p providers.Person) providers.Person { return providers.Person{ID: "asmith"} }),
	"a table with an address":  mapped(func(p providers.Person) providers.Person { return providers.Person{ID: "Alice@contoso.com"} }),
	"the local part": mapped(func(p providers.Person) providers.Person {
		local, _, _ := strings.Cut(p.ID, "@")
		return providers.Person{ID: strings.TrimSuffix(local, ".smith")}
	}),
	"an alias that the directory resolves": func(op *hold.Options) {
		op.Verifiers[0].Verifier = directory{op.Verifiers[0].Verifier.(*phone), func(p providers.Person) (providers.Person, error) {
			return providers.Person{ID: p.ID, ObjectID: theirObject, TenantID: "tenant"}, nil
		}}
	},
}

func mapped(f func(providers.Person) providers.Person) func(op *hold.Options) {
	return func(op *hold.Options) {
		op.Verifiers[0].Map = func(p providers.Person) (providers.Person, bool) { return f(p), true }
	}
}

// as is a request of somebody.
func as(n byte, person string) hold.Request {
	r := request(n)
	r.Subject.Requester.ID, r.Subject.Requester.ObjectID = person, ""
	return r
}

const alice, smith = "alice@contoso.com", "alice.smith@contoso.com"

func TestTwoNamesOfOneAccountHaveOnePushAtATime(t *testing.T) {
	for name, change := range oneAccount {
		t.Run(name, func(t *testing.T) {
			inOffice(t, change, func(t *testing.T, o *office) {
				a := o.attach(as(0, alice))
				b := o.attach(as(1, smith))
				o.pushes(1)
				after(t, time.Minute)
				o.pushes(1)
				o.answerNew(0, providers.Approved)
				after(t, 9*time.Second)
				o.pushes(1) // the interval is the account's too
				after(t, time.Second)
				o.pushes(2)
				o.answerNew(1, providers.Approved)
				synctest.Wait()
				for _, x := range []*hold.Attachment{a, b} {
					if r := o.outcome(x); r.State != hold.Approved {
						t.Errorf("%v, want approved", r.State)
					}
				}
				if o.phone.most != 1 {
					t.Errorf("%d pushes at one time, want 1", o.phone.most)
				}
			})
		})
	}
}

// A requester's e-mail is the assertion's, and goes with the hold to whichever replica asks.
func TestTheEmailOfARequesterIsWhatAMapMayUse(t *testing.T) {
	byEmail := func(op *hold.Options) {
		op.Verifiers[0].Map = func(p providers.Person) (providers.Person, bool) { return providers.Person{ID: p.Email}, p.Email != "" }
	}
	inOffice(t, byEmail, func(t *testing.T, o *office) {
		r := as(0, alice)
		r.Subject.Requester.Email = "a.smith@example.com"
		x := o.attach(r)
		o.pushes(1)
		rec, err := o.Get(t.Context(), x.ID())
		if err != nil || rec.Subject.Requester.Email != "a.smith@example.com" || o.phone.pushes[0].Person.ID != "a.smith@example.com" {
			t.Errorf("asked %+v for %+v, %v; want the e-mail", o.phone.pushes[0].Person, rec.Subject, err)
		}
		x.Leave(false)
		if r := o.outcome(o.attach(as(1, smith))); r.State != hold.NotEnrolled || r.Detail != hold.DetailNoProvider {
			t.Errorf("without an e-mail: %v (%s), want nobody to ask", r.State, r.Detail)
		}
	})
}

// over attaches and wants the hold to end because the account may not be pushed.
func (o *office) over(r hold.Request, reason string) {
	o.t.Helper()
	pushes := o.phone.count()
	a, err := o.Attach(o.t.Context(), r)
	if err == nil {
		_, err = a.Wait(o.t.Context())
		a.Leave(true)
	}
	if b, ok := errors.AsType[*hold.BudgetError](err); !ok || b.Reason != reason {
		o.t.Errorf("%s: %v, want refused for %s", r.Subject.Requester.ID, err, reason)
	}
	o.pushes(pushes)
}

func TestTwoNamesOfOneAccountHaveOneBudget(t *testing.T) {
	for name, change := range oneAccount {
		t.Run(name, func(t *testing.T) {
			inOffice(t, change, func(t *testing.T, o *office) {
				ask := func(n byte, person string, v providers.Verdict) {
					after(t, 11*time.Second)
					x := o.attach(as(n, person))
					o.answerNew(o.phone.count()-1, v)
					o.outcome(x)
				}
				ask(0, alice, providers.Denied)
				ask(1, smith, providers.Denied)
				o.over(as(2, smith), "cooloff")
				o.over(as(2, alice), "cooloff")
				after(t, 16*time.Minute)
				for n, person := range []string{alice, smith, smith, alice, alice} {
					ask(byte(10+n), person, providers.TimedOut)
				}
				o.over(as(3, smith), "per_15m")
				o.over(as(3, alice), "per_15m")
			})
		})
	}
}

func TestAFraudReportBlocksTheAccountUnderEveryNameUntilItIsCleared(t *testing.T) {
	for name, change := range oneAccount {
		for _, cleared := range []string{alice, smith} {
			t.Run(name+", cleared as "+cleared, func(t *testing.T) {
				inOffice(t, change, func(t *testing.T, o *office) {
					x := o.attach(as(0, alice))
					o.answerNew(0, providers.Fraud)
					if r := o.outcome(x); r.State != hold.Fraud {
						t.Fatalf("%v, want fraud", r.State)
					}
					o.over(as(1, smith), "fraud")
					o.over(as(1, alice), "fraud")
					if _, reachable, err := o.Prospect(t.Context(), as(9, smith)); reachable || err != nil {
						t.Errorf("Prospect = %v, %v; want nobody reachable", reachable, err)
					}
					if err := o.Clear(t.Context(), cleared); err != nil {
						t.Fatal(err)
					}
					if list, err := o.Blocked(t.Context()); err != nil || len(list) != 0 {
						t.Errorf("Blocked = %+v, %v; want nobody", list, err)
					}
					after(t, time.Minute)
					for n, person := range []string{smith, alice} {
						after(t, 11*time.Second)
						x := o.attach(as(byte(2+n), person))
						o.pushes(2 + n)
						o.answerNew(1+n, providers.Approved)
						o.outcome(x)
					}
				})
			})
		}
	}
}

// prober counts how often it was asked whom it reaches.
type prober struct {
	*phone
	asked int
	can   func(p providers.Person) (bool, error)
}

func (p *prober) Reachable(_ context.Context, who providers.Person) (bool, error) {
	p.asked++
	return p.can(who)
}

func TestAPlanAsksEachProviderAboutAPersonOnce(t *testing.T) {
	no := &prober{phone: &phone{}, can: func(providers.Person) (bool, error) { return false, nil }}
	fails := &prober{phone: &phone{}, can: func(providers.Person) (bool, error) { return false, errors.New("down") }}
	yes := &prober{phone: &phone{}, can: func(p providers.Person) (bool, error) { return p.ID == alice, nil }}
	inOffice(t, func(op *hold.Options) {
		op.Verifiers = []hold.Named{{Name: "no", Verifier: no}, {Name: "fails", Verifier: fails}, {Name: "yes", Verifier: yes}}
	}, func(t *testing.T, o *office) {
		outlook := o.Outlook()
		for n := range byte(50) {
			if by, can, err := outlook.Prospect(t.Context(), as(n, alice)); by != "yes" || !can || err != nil {
				t.Fatalf("Prospect = %s, %v, %v; want yes", by, can, err)
			}
		}
		if no.asked != 1 || fails.asked != 1 || yes.asked != 1 {
			t.Errorf("asked %d, %d and %d times, want once each", no.asked, fails.asked, yes.asked)
		}
		if by, can, err := outlook.Prospect(t.Context(), as(0, smith)); by != "no" || can || err != nil || yes.asked != 2 {
			t.Errorf("somebody else: %s, %v, %v; want nobody who reaches them", by, can, err)
		}
		if _, _, err := o.Prospect(t.Context(), as(0, alice)); err != nil || yes.asked != 3 {
			t.Errorf("another plan asked %d times, want anew", yes.asked)
		}
	})
}

func TestTwoAccountsAreAskedAtOnce(t *testing.T) {
	inOffice(t, mapped(func(p providers.Person) providers.Person { return providers.Person{ID: "duo-" + p.ID} }), func(t *testing.T, o *office) {
		o.attach(as(0, alice)).Leave(false)
		o.attach(as(1, smith)).Leave(false)
		o.pushes(2)
	})
}

func TestTwoReplicasSendOnePushToOneAccount(t *testing.T) {
	for name, change := range oneAccount {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, p := ledger.NewMemory(), &phone{}
				shared := func(op *hold.Options) { op.Shared = true; change(op) }
				a, b := newOffice(t, m, p, shared), newOffice(t, m, p, shared)
				x, y := a.attach(as(0, alice)), b.attach(as(1, smith))
				a.pushes(1)
				a.answerNew(0, providers.Denied)
				after(t, 10*time.Second)
				a.pushes(2)
				// What another replica takes over still counts at the account.
				if err := b.Drain(context.Background()); err != nil {
					t.Fatal(err)
				}
				y.Leave(false)
				x.Leave(true)
				z := a.attach(as(1, smith))
				a.answerNew(1, providers.Denied)
				if r := a.outcome(z); r.State != hold.Denied {
					t.Fatalf("%v, want denied", r.State)
				}
				a.over(as(2, alice), "cooloff")
				a.over(as(2, smith), "cooloff")
			})
		})
	}
}

func TestAnAccountThatIsNotKnownIsNotAsked(t *testing.T) {
	unasked := func(v providers.Verdict) error {
		return &providers.Unasked{Outcome: providers.Outcome{Verdict: v, Detail: "so"}}
	}
	for name, c := range map[string]struct {
		err   error
		panic bool
		want  hold.State // "": the next provider's phone rings
	}{
		"the directory is down":      {err: errors.New("down")},
		"the directory panics":       {panic: true},
		"the directory names nobody": {},
		"not enrolled":               {err: unasked(providers.NotEnrolled)},
		"unavailable":                {err: unasked(providers.Unavailable)},
		"locked out":                 {err: unasked(providers.LockedOut), want: hold.LockedOut},
		"an approval out of nowhere": {err: unasked(providers.Approved), want: hold.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var all map[string]*phone
			inOffice(t, func(op *hold.Options) {
				all = phones(op, hold.Named{Name: "m365"}, hold.Named{Name: "duo"})
				op.Verifiers[0].Verifier = directory{all["m365"], func(providers.Person) (providers.Person, error) {
					if c.panic {
						panic("secret")
					}
					return providers.Person{}, c.err
				}}
			}, func(t *testing.T, o *office) {
				a := o.attach(as(0, alice))
				synctest.Wait()
				if c.want != hold.Unopened {
					if r := o.outcome(a); r.State != c.want || len(rang(all)) != 0 {
						t.Errorf("%v, asked at %v; want %v and nobody asked", r.State, rang(all), c.want)
					}
					return
				}
				if got := rang(all); !slices.Equal(got, []string{"duo"}) {
					t.Errorf("asked at %v, want duo", got)
				}
				a.Leave(false)
			})
		})
	}
}

func TestNobodyIsAskedElsewhereInsteadOfAnAccountThatIsBlocked(t *testing.T) {
	var all map[string]*phone
	inOffice(t, func(op *hold.Options) {
		table := func(providers.Person) (providers.Person, bool) { return providers.Person{ID: "asmith"}, true }
		all = phones(op, hold.Named{Name: "duo", Map: table}, hold.Named{Name: "m365"})
	}, func(t *testing.T, o *office) {
		x := o.attach(as(0, alice))
		all["duo"].answer(providers.Fraud)
		o.outcome(x)
		o.over(as(1, smith), "fraud")
		if got := rang(all); !slices.Equal(got, []string{"duo"}) {
			t.Errorf("asked at %v, want duo only", got)
		}
	})
}

func TestAnAccountThatAskedNobodyIsChargedNothing(t *testing.T) {
	var all map[string]*phone
	inOffice(t, func(op *hold.Options) {
		op.Budget.PerDay = 1
		table := func(providers.Person) (providers.Person, bool) {
			return providers.Person{ID: "shared"}, true
		}
		all = phones(op, hold.Named{Name: "first", Map: table, Verifier: &phone{start: says(providers.NotEnrolled)}}, hold.Named{Name: "second"})
	}, func(t *testing.T, o *office) {
		for n, person := range []string{alice, smith} {
			x := o.attach(as(byte(n), person))
			all["second"].answer(providers.Approved)
			if r := o.outcome(x); r.State != hold.Approved || r.Provider != "second" {
				t.Errorf("%s: %v by %s, want approved by the second", person, r.State, r.Provider)
			}
		}
	})
}

// Each is mapped to the other's name: whoever waits must not keep what the other one needs.
func TestAccountsThatAreCrossedDoNotLockEachOther(t *testing.T) {
	inOffice(t, mapped(func(p providers.Person) providers.Person {
		return providers.Person{ID: map[string]string{alice: smith, smith: alice}[p.ID]}
	}), func(t *testing.T, o *office) {
		a, b := o.attach(as(0, alice)), o.attach(as(1, smith))
		o.pushes(1)
		o.answerNew(0, providers.Approved)
		after(t, 10*time.Second)
		o.pushes(2)
		o.answerNew(1, providers.Approved)
		o.outcome(a)
		o.outcome(b)
	})
}

// An account's document that cannot be stored stops the push, and what was taken for it is given back.
func TestWithoutTheAccountsDocumentNobodyIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{Ledger: ledger.NewMemory()}
		o := newOffice(t, b.Ledger.(*ledger.Memory), &phone{}, func(op *hold.Options) {
			op.Ledger = b
			op.Verifiers[0].Map = func(p providers.Person) (providers.Person, bool) { return providers.Person{ID: "asmith"}, true }
		})
		taken := 0 // a person's first Store is that of the first document in order
		b.set(func(e hold.Entry) bool {
			if strings.HasPrefix(e.Key, "person.") && e.Rev == 0 {
				taken++
			}
			return strings.HasPrefix(e.Key, "person.") && taken > 1
		}, nil)
		a := o.attach(as(0, alice))
		after(t, time.Minute)
		o.pushes(0)
		if r := o.outcome(a); r.State != hold.Unavailable {
			t.Errorf("%v, want unavailable", r.State)
		}
		b.set(nil, nil)
		after(t, 6*time.Minute+30*time.Second) // what could not be given back ends with its hold
		o.attach(as(1, alice)).Leave(false)
		o.pushes(1)
	})
}
