package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/policy"
	"countersign/providers"
)

const (
	corroborateAfter = 10 * time.Minute // a provider's own records lag behind by minutes
	corroborateTime  = 30 * time.Second // longest one look may take
	corroborateQueue = 1000             // approvals that wait for their look
)

// corroboration looks, some time after an approval, for the provider's own record of it, and notes what it finds in the
// journal. It is no condition of anything. What waits is in the ledger, so that it is looked up after a restart, by whichever
// replica comes first; what finds no room is not.
type corroboration struct {
	who     map[string]corroborating
	journal recorder
	ledger  hold.Ledger
	log     *slog.Logger

	new  chan look
	due  chan look
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// recorder is the journal, as far as it is needed here.
type recorder interface {
	Record(ctx context.Context, e audit.Event) error
}

// corroborating is a provider that can look, and how it knows people.
type corroborating struct {
	providers.Corroborator
	user func(providers.Person) (providers.Person, bool)
}

// look is an approval that is to be looked up.
type look struct {
	waiting
	rev uint64 // of its document; 0: it has none, and is in memory only
}

// waiting is the document of a look.
type waiting struct {
	Hold        hold.ID          `json:"hold"`
	Provider    string           `json:"provider"`
	Transaction string           `json:"transaction"`
	Person      providers.Person `json:"person"`
	Agent       string           `json:"agent,omitempty"`
	Ticket      string           `json:"ticket,omitempty"`
	Assurance   policy.Assurance `json:"assurance"`
	Approved    time.Time        `json:"approved"`
	Due         time.Time        `json:"due"`
}

// newCorroboration begins to wait for approvals; nil where no provider can look.
func newCorroboration(verifiers []hold.Named, journal recorder, ledger hold.Ledger, log *slog.Logger) *corroboration {
	c := &corroboration{
		who: map[string]corroborating{}, journal: journal, ledger: ledger, log: log,
		new: make(chan look, corroborateQueue), due: make(chan look, corroborateQueue),
	}
	for _, v := range verifiers {
		if can, ok := v.Verifier.(providers.Corroborator); ok {
			c.who[v.Name] = corroborating{can, v.Map}
		}
	}
	if len(c.who) == 0 {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.wg.Go(func() { c.keep(ctx) })
	c.wg.Go(func() { c.run(ctx) })
	return c
}

// observe takes note of an approval. It does not block.
func (c *corroboration) observe(e hold.Event, r hold.Record) {
	if c == nil || e.Kind != hold.EventSettled || r.State != hold.Approved {
		return
	}
	if _, ok := c.who[r.Provider]; !ok {
		return
	}
	q := r.Subject.Requester
	w := waiting{
		Hold: r.ID, Provider: r.Provider, Transaction: r.Transaction, Agent: r.Subject.Agent, Ticket: r.Subject.Ticket, Assurance: q.Assurance,
		Person:   providers.Person{ID: q.ID, ObjectID: q.ObjectID, TenantID: q.TenantID, Email: q.Email},
		Approved: r.SettledAt, Due: time.Now().Add(corroborateAfter),
	}
	if r.Evidence != nil {
		w.Approved = r.Evidence.ApprovedAt
	}
	select {
	case c.new <- look{waiting: w}:
	default:
		c.crowded(w)
	}
}

func (c *corroboration) crowded(w waiting) {
	c.log.Warn("approval will not be looked up in the provider's records: too many wait", slog.String("hold", string(w.Hold)))
}

// close ends it, with a look that is under way.
func (c *corroboration) close() {
	if c == nil {
		return
	}
	c.stop()
	c.wg.Wait()
}

// run looks up what was approved here.
func (c *corroboration) run(ctx context.Context) {
	for {
		select {
		case next := <-c.due: // all wait equally long: the first is due first
			if !c.await(ctx, next) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// await looks when it is time; false: it has ended.
func (c *corroboration) await(ctx context.Context, l look) bool {
	timer := time.NewTimer(time.Until(l.Due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	if ctx.Err() == nil && c.claim(ctx, &l) {
		c.look(ctx, l)
	}
	return ctx.Err() == nil
}

// look asks the provider once. Its errors go to the log: the journal has no place for such texts.
func (c *corroboration) look(ctx context.Context, l look) {
	by := c.who[l.Provider]
	person := l.Person
	if by.user != nil {
		person, _ = by.user(person) // they are known: they approved
	}
	asking, cancel := context.WithTimeout(ctx, corroborateTime)
	defer cancel()
	detail, err := by.Corroborate(asking, person, l.Transaction, l.Approved)
	switch {
	case ctx.Err() != nil:
		return // its document is there for the next start
	case err != nil:
		c.log.Warn("approval could not be looked up in the provider's records", slog.String("hold", string(l.Hold)),
			slog.String("provider", l.Provider), slog.Any("error", err))
		detail = "could not be looked up"
	case detail == "": // this provider keeps no such records
		c.forget(ctx, l)
		return
	}
	e := audit.Event{
		Kind: audit.Seen, Hold: string(l.Hold), Subject: l.subject(), Provider: l.Provider, Transaction: l.Transaction, Detail: detail,
	}
	writing, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := c.journal.Record(writing, e); err != nil {
		c.log.Error("what the provider's records say was not recorded", slog.String("hold", string(l.Hold)), slog.Any("error", err))
		return
	}
	c.forget(ctx, l)
}
