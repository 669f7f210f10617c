package hold

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"countersign/internal/audit"
	"countersign/policy"
	"countersign/providers"
)

// Recorder writes to the journal. It answers nil only when the event is on disk.
type Recorder interface {
	Record(ctx context.Context, e audit.Event) error
}

// Options says what a desk works with. Ledger and Recorder are required; zero values elsewhere take the default named.
type Options struct {
	Ledger    Ledger
	Recorder  Recorder
	Verifiers []Named       // in order of preference; none: every hold is refused with ErrNoProvider
	Timeout   time.Duration // 5m: longest a person is waited for, queueing included
	Resume    time.Duration // 2m: how long a hold outlives its caller, and an approval its moment
	MaxHolds  int           // 10000: live holds of this desk
	Budget    Budget
	Logger    *slog.Logger // nil: silent
	// Shared says that the ledger outlives this process, so that Drain leaves pending holds to the other desks.
	Shared bool
	// Observe is told of every change this desk made, after the ledger took it, and, as EventAsking, of every provider
	// before it is asked to ask. It must not block: the hold waits for it. May be nil.
	Observe func(Event, Record)
	// Prompted is told, once per hold and after the person was asked, of the page where they answer and of the code that
	// they have to type or pick, whichever there is. The code is nowhere else: not in the ledger, the journal or any
	// answer. It must not block. May be nil: then nobody is shown a code.
	Prompted func(r Record, url, code string)
	// Escalated tells a technician that a verification needs a human, within its context. It returns whether a sink took
	// the message. It must not call the desk. May be nil: then nobody is told, and only the journal has it.
	Escalated func(context.Context, Record) bool
}

// Desk runs holds and lets exchanges attach to them. It owns every goroutine it starts; Drain ends them.
type Desk struct {
	o    Options
	name string // random: the owner on record of what this desk runs

	base    context.Context //nolint:containedctx // the life of the holds, which no caller's context may end
	stop    context.CancelCauseFunc
	drained chan struct{} // closed when Drain begins
	wg      sync.WaitGroup
	lease   lease
	riding  atomic.Int64 // callers kept while the ledger fails

	mu       sync.Mutex
	draining bool
	holds    map[ID]*live       // what this desk runs, or a caller here is attached to
	keys     map[string][]*live // the same by hold key: one, or one and its successor
	count    int                // live holds run here, and those being opened
	open     map[ID]time.Time   // redeemed here, answer not known yet
	turns    map[string]*turn   // by person: who on this desk pushes next
	expected map[string]func()  // by wake key: wakes the Wait for a transaction
	serial   uint64             // of attachments
}

// Reasons for which a desk ends waiting for a person.
var (
	errSettled = errors.New("hold: settled elsewhere")
	errStopped = errors.New("hold: desk stopped")
)

const (
	recordTime = 10 * time.Second // longest one journal record or ledger change may take
	insistTime = 15 * time.Second // longest a hold rides over a ledger that fails: leaders change within 7 s
	attachTime = 10 * time.Second // longest a caller, or a redemption that has not begun, is kept for the same: well below max_wait
	leaveTime  = 5 * time.Second  // longest a leaving caller is kept for the ledger to know
	cancelTime = 2 * time.Second  // longest a provider is given to take a push back
	ringTime   = time.Minute      // longest a phone shows a push that nobody answered and nobody could take back: Duo's own limit
	maxTries   = 64               // compare-and-set rounds before contention counts as failure
)

// NewDesk returns a desk that follows the ledger. The caller ends it with Drain.
func NewDesk(o Options) (*Desk, error) {
	var err error
	switch {
	case o.Ledger == nil:
		return nil, errors.New("hold: no ledger")
	case o.Recorder == nil:
		return nil, errors.New("hold: no recorder")
	case o.Timeout < 0 || o.Resume < 0 || o.MaxHolds < 0:
		return nil, errors.New("hold: negative limit")
	}
	if o.Verifiers, err = checkVerifiers(o.Verifiers); err != nil {
		return nil, err
	}
	if o.Budget, err = o.Budget.withDefaults(); err != nil {
		return nil, err
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Resume == 0 {
		o.Resume = 2 * time.Minute
	}
	if o.MaxHolds == 0 {
		o.MaxHolds = 10000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Desk{
		o: o, name: newID(), drained: make(chan struct{}), lease: lease{turn: make(chan struct{}, 1), wake: make(chan struct{}, 1)},
		holds: map[ID]*live{}, keys: map[string][]*live{}, open: map[ID]time.Time{}, turns: map[string]*turn{},
		expected: map[string]func(){},
	}
	d.base, d.stop = context.WithCancelCause(context.Background())
	d.wg.Go(func() { d.follow(d.base, holdPrefix, d.sawHold) })
	d.wg.Go(func() { d.follow(d.base, personPrefix, d.sawPerson) })
	if slices.ContainsFunc(o.Verifiers, func(v Named) bool { _, calls := v.Verifier.(providers.Caller); return calls }) {
		d.wg.Go(func() { d.follow(d.base, wakePrefix, d.sawWake) })
	}
	d.wg.Go(func() { d.keepLease(d.base) })
	return d, nil
}

// Attach joins the hold that r's key names, or opens one and asks the person, as the table of design §3 says. The hold
// belongs to the desk: ctx ends only the attaching. The caller ends the attachment with Leave. While the ledger fails it tries again, for
// ten seconds at most: a cluster elects another leader in less.
//
// Errors: ErrRequest, ErrNoProvider, *BudgetError, ErrExhausted, ErrDuplicate, ErrOutcomeUnknown, ErrDraining,
// ErrJournal, ErrLedger.
func (d *Desk) Attach(ctx context.Context, r Request) (*Attachment, error) {
	if err := holdable(r); err != nil {
		return nil, err
	}
	key := Key(r)
	var a *Attachment
	err := d.rideOver(ctx, func(ctx context.Context) (err error) {
		a, err = d.attach(ctx, key, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// attach is one try of Attach. It begins by looking at what is on record, and so does each further one: a Store whose outcome nobody
// knows is judged by what it left.
func (d *Desk) attach(ctx context.Context, key string, r Request) (*Attachment, error) {
	for range maxTries {
		if d.isDraining() {
			return nil, ErrDraining
		}
		rec, rev, err := d.load(ctx, key)
		if err != nil {
			return nil, err
		}
		a, err := d.join(ctx, rec, rev)
		if errors.Is(err, ErrTransition) { // it is over, or was never there
			a, err = d.openHold(ctx, key, r, rev)
		}
		if !errors.Is(err, ErrStale) {
			return a, err
		}
	}
	return nil, fmt.Errorf("%w: contention", ErrLedger)
}

// Len returns how many live holds this desk runs.
func (d *Desk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// Drain ends the desk: new and waiting callers get ErrDraining, pending holds are withdrawn (with a shared ledger they
// stay, for other desks to go on with) and nothing is released any more. It returns when all is done or ctx ends.
func (d *Desk) Drain(ctx context.Context) error {
	d.mu.Lock()
	if !d.draining {
		d.draining = true
		close(d.drained)
		for _, h := range d.holds {
			if h.timer != nil {
				h.timer.Stop()
			}
		}
	}
	d.mu.Unlock()
	d.stop(errStopped)
	done := make(chan struct{})
	go func() { // ends with the last goroutine of the desk
		d.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		d.endLease(ctx)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain holds: %w", ctx.Err())
	}
}

func holdable(r Request) error {
	q := r.Subject.Requester
	switch {
	case r.Digest == policy.Digest{}:
		return fmt.Errorf("%w: no digest", ErrRequest)
	case q.ID == "" || q.Assurance == policy.AssuranceNone:
		return fmt.Errorf("%w: nobody to ask", ErrRequest)
	case r.Decision.Effect != policy.StepUp || r.Decision.Requirement == nil || r.Decision.Requirement.Approver != "requester":
		return fmt.Errorf("%w: no requirement that the requester can meet", ErrRequest)
	case len(r.Operations) > maxOperations:
		return fmt.Errorf("%w: more operations than a challenge shows", ErrRequest)
	}
	return nil
}

func (d *Desk) isDraining() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.draining
}

// spawn runs f in a goroutine that Drain waits for, unless the desk is draining.
func (d *Desk) spawn(f func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		return false
	}
	d.wg.Go(f)
	return true
}

// token names a new attachment: this desk, and a number nobody else has.
func (d *Desk) token() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serial++
	return fmt.Sprintf("%s.%d", d.name, d.serial)
}

func (d *Desk) reserve() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		return ErrDraining
	}
	if d.count >= d.o.MaxHolds {
		return ErrExhausted
	}
	d.count++
	return nil
}

func (d *Desk) unreserve() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count--
}
