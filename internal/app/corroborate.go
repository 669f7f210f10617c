package app

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/providers"
)

const (
	corroborateAfter = 10 * time.Minute // a provider's own records lag behind by minutes
	corroborateTime  = 30 * time.Second // longest one look may take
	corroborateQueue = 1000             // approvals that wait for their look
)

// corroboration looks, some time after an approval, for the provider's own record of it, and notes what it finds in the
// journal. It is no condition of anything: what waits when the sidecar stops, or finds no room, is not looked up.
type corroboration struct {
	who     map[string]corroborating
	journal recorder
	log     *slog.Logger

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

type look struct {
	hold hold.Record
	at   time.Time
}

// newCorroboration begins to wait for approvals; nil where no provider can look.
func newCorroboration(verifiers []hold.Named, journal recorder, log *slog.Logger) *corroboration {
	c := &corroboration{who: map[string]corroborating{}, journal: journal, log: log, due: make(chan look, corroborateQueue)}
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
	select {
	case c.due <- look{r, time.Now().Add(corroborateAfter)}:
	default:
		c.log.Warn("approval will not be looked up in the provider's records: too many wait", slog.String("hold", string(r.ID)))
	}
}

// close ends it, with a look that is under way.
func (c *corroboration) close() {
	if c == nil {
		return
	}
	c.stop()
	c.wg.Wait()
}

func (c *corroboration) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case next := <-c.due:
			timer := time.NewTimer(time.Until(next.at)) // all wait equally long: the first is due first
			select {
			case <-timer.C:
				if ctx.Err() == nil {
					c.look(ctx, next.hold)
				}
			case <-ctx.Done():
				timer.Stop()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// look asks the provider once. Its errors go to the log: the journal has no place for such texts.
func (c *corroboration) look(ctx context.Context, r hold.Record) {
	by, q := c.who[r.Provider], r.Subject.Requester
	person := providers.Person{ID: q.ID, ObjectID: q.ObjectID, TenantID: q.TenantID, Email: q.Email}
	if by.user != nil {
		person, _ = by.user(person) // they are known: they approved
	}
	at := r.SettledAt
	if r.Evidence != nil {
		at = r.Evidence.ApprovedAt
	}
	asking, cancel := context.WithTimeout(ctx, corroborateTime)
	defer cancel()
	detail, err := by.Corroborate(asking, person, r.Transaction, at)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		c.log.Warn("approval could not be looked up in the provider's records", slog.String("hold", string(r.ID)),
			slog.String("provider", r.Provider), slog.Any("error", err))
		detail = "could not be looked up"
	case detail == "":
		return // this provider keeps no such records
	}
	e := audit.Event{
		Kind: audit.Seen, Hold: string(r.ID), Subject: &r.Subject, Provider: r.Provider, Transaction: r.Transaction, Detail: detail,
	}
	writing, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if err := c.journal.Record(writing, e); err != nil {
		c.log.Error("what the provider's records say was not recorded", slog.String("hold", string(r.ID)), slog.Any("error", err))
	}
}
