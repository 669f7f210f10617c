package hold_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/policy"
	"countersign/providers"
)

// phone is a person with a phone: a provider whose every answer the test decides. A push waits for answer.
type phone struct {
	start     func(ctx context.Context, c providers.Challenge) (providers.Attempt, error) // nil: the push arrives
	limit     time.Duration
	can       []string
	deaf      bool // Wait does not end with its context
	panics    bool
	forgetful bool // pushes are not kept

	mu       sync.Mutex
	pushes   []providers.Challenge
	waiting  map[string]chan answer
	canceled []string
	pending  int // pushes on the screen
	most     int // … at one time
}

type answer struct {
	out providers.Outcome
	err error
}

func (p *phone) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	if p.start != nil {
		if a, err := p.start(ctx, c); err != nil || a.Transaction == "" {
			return a, err
		}
	}
	if p.forgetful {
		return providers.Attempt{Asked: true, Transaction: "tx"}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes = append(p.pushes, c)
	if p.waiting == nil {
		p.waiting = map[string]chan answer{}
	}
	tx := "tx-" + c.HoldID
	p.waiting[tx] = make(chan answer, 1)
	p.pending++
	p.most = max(p.most, p.pending)
	return providers.Attempt{Asked: true, Transaction: tx}, nil
}

func (p *phone) Wait(ctx context.Context, tx string) (providers.Outcome, error) {
	if p.panics {
		panic("secret")
	}
	p.mu.Lock()
	ch := p.waiting[tx]
	p.mu.Unlock()
	if p.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	select {
	case a := <-ch:
		p.gone()
		return a.out, a.err
	case <-ctx.Done():
		return providers.Outcome{}, ctx.Err()
	}
}

func (p *phone) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pending--
}

func (p *phone) Cancel(_ context.Context, tx string) error {
	p.gone()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.canceled = append(p.canceled, tx)
	return nil
}

func (p *phone) Limit() time.Duration   { return p.limit }
func (p *phone) Capabilities() []string { return p.can }

// answer is what the person does with the latest push.
func (p *phone) answer(v providers.Verdict) {
	p.give(answer{out: providers.Outcome{Verdict: v, ImmutableID: "DU1", AMR: []string{"pop"}, Detail: v.String()}})
}

func (p *phone) give(a answer) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.pushes[len(p.pushes)-1]
	p.waiting["tx-"+last.HoldID] <- a
}

func (p *phone) count() int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pushes)
}

// journal keeps what was recorded, and fails on the kinds it is told to.
type journal struct {
	mu        sync.Mutex
	events    []audit.Event
	fail      string
	forgetful bool
}

var errDisk = errors.New("disk full")

func (j *journal) Record(_ context.Context, e audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Kind == j.fail {
		return errDisk
	}
	if !j.forgetful {
		j.events = append(j.events, e)
	}
	return nil
}

func (j *journal) kinds() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, e := range j.events {
		out = append(out, e.Kind+" "+e.State)
	}
	return out
}

// broken is a ledger that fails where it is told to.
type broken struct {
	hold.Ledger
	mu    sync.Mutex
	store func(e hold.Entry) bool
	load  func(key string) bool
	after bool // it fails after the Store has happened
}

var errLost = errors.New("no leader")

func (b *broken) Load(ctx context.Context, key string) (hold.Entry, error) {
	b.mu.Lock()
	fails := b.load != nil && b.load(key)
	b.mu.Unlock()
	if fails {
		return hold.Entry{}, errLost
	}
	return b.Ledger.Load(ctx, key)
}

func (b *broken) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	b.mu.Lock()
	fails, after := b.store != nil && b.store(e), b.after
	b.mu.Unlock()
	if fails && !after {
		return 0, errLost
	}
	rev, err := b.Ledger.Store(ctx, e)
	if fails {
		return 0, errLost
	}
	return rev, err
}

func (b *broken) set(store func(e hold.Entry) bool, load func(key string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.store, b.load = store, load
}

// office is one desk with its surroundings.
type office struct {
	*hold.Desk
	t       *testing.T
	ledger  *ledger.Memory
	phone   *phone
	journal *journal
}

// inOffice runs a test in a bubble of its own time, with one desk that is drained at the end.
func inOffice(t *testing.T, change func(*hold.Options), test func(t *testing.T, o *office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newOffice(t, ledger.NewMemory(), &phone{}, change)) })
}

func newOffice(t *testing.T, m *ledger.Memory, p *phone, change func(*hold.Options)) *office {
	t.Helper()
	o := &office{t: t, ledger: m, phone: p, journal: &journal{}}
	opts := hold.Options{Ledger: m, Recorder: o.journal, Verifiers: []hold.Named{{Name: "duo", Verifier: p}}, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&opts)
	}
	var err error
	if o.Desk, err = hold.NewDesk(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return o
}

// request is what alice asks for; n makes it a different one.
func request(n byte) hold.Request {
	return hold.Request{
		Exchange: "ex", API: "microsoft-graph", Digest: policy.Digest{1, n}, Summary: "Reset the password of bob@contoso.com",
		Subject:    policy.Subject{Agent: "helpdesk-1", Ticket: "T-1", Requester: policy.Requester{ID: "alice@contoso.com", Assurance: policy.AssuranceAttested, Claims: map[string]any{"x": "y"}}},
		Operations: []policy.Operation{{Name: "user.password.reset", Summary: "Reset the password of bob@contoso.com", Resource: policy.Resource{Type: "user", ID: "bob@contoso.com"}}},
		Decision:   policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester"}, Revision: "r1"},
	}
}

func (o *office) attach(r hold.Request) *hold.Attachment {
	o.t.Helper()
	a, err := o.Attach(o.t.Context(), r)
	if err != nil {
		o.t.Fatalf("Attach: %v", err)
	}
	return a
}

// outcome waits for the hold's end and leaves with it.
func (o *office) outcome(a *hold.Attachment) hold.Record {
	o.t.Helper()
	r, err := a.Wait(o.t.Context())
	if err != nil {
		o.t.Fatalf("Wait: %v", err)
	}
	a.Leave(true)
	return r
}

// refused attaches and wants to be refused.
func (o *office) refused(r hold.Request, want error) {
	o.t.Helper()
	a, err := o.Attach(o.t.Context(), r)
	if !errors.Is(err, want) {
		o.t.Errorf("Attach = %v, want %v", err, want)
	}
	if a != nil {
		a.Leave(false)
	}
}

func (o *office) pushes(want int) {
	o.t.Helper()
	if got := o.phone.count(); got != want {
		o.t.Errorf("%d pushes, want %d", got, want)
	}
}

func (o *office) state(a *hold.Attachment, want hold.State) {
	o.t.Helper()
	synctest.Wait()
	r, err := o.Get(o.t.Context(), a.ID())
	if err != nil || r.State != want {
		o.t.Errorf("hold is %v, %v; want %v", r.State, err, want)
	}
}

func (o *office) recorded(want ...string) {
	o.t.Helper()
	synctest.Wait()
	if got := o.journal.kinds(); !slices.Equal(got, want) {
		o.t.Errorf("journal has %q, want %q", got, want)
	}
}

// after lets time pass.
func after(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
	synctest.Wait()
}

// within waits at most d, as a proxy with max_wait does.
func within(t *testing.T, a *hold.Attachment, d time.Duration) (hold.Record, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return a.Wait(ctx)
}
