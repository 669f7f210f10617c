package app

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"countersign/internal/hold"
	"countersign/policy"
)

// What waits for its look is kept under this prefix of the ledger.
const (
	lookPrefix = "look."
	lookTTL    = 24 * time.Hour // how long it waits for a replica that can look
)

// subject is whom the journal's record is about.
func (w waiting) subject() *policy.Subject {
	return &policy.Subject{Agent: w.Agent, Ticket: w.Ticket, Requester: policy.Requester{
		ID: w.Person.ID, ObjectID: w.Person.ObjectID, TenantID: w.Person.TenantID, Email: w.Person.Email, Assurance: w.Assurance,
	}}
}

// keep writes down what waits, apart from the hold that tells of it, and passes it on.
func (c *corroboration) keep(ctx context.Context) {
	left := c.left(ctx) // before there is anything of our own
	c.wg.Go(func() { c.resume(ctx, left) })
	for {
		select {
		case next := <-c.new:
			next.rev = c.store(context.WithoutCancel(ctx), next)
			select {
			case c.due <- next:
			default:
				c.crowded(next.waiting)
			}
		case <-ctx.Done():
			c.drain(context.WithoutCancel(ctx))
			return
		}
	}
}

// drain writes down, within a time for all of it, what a stop finds.
func (c *corroboration) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	for {
		select {
		case next := <-c.new:
			c.store(ctx, next)
		default:
			return
		}
	}
}

// store puts a look in the place of what is at its revision, and returns the new one; 0: it is in memory only.
func (c *corroboration) store(ctx context.Context, l look) uint64 {
	value, err := json.Marshal(l.waiting)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, recordTime)
		defer cancel()
		l.rev, err = c.ledger.Store(ctx, hold.Entry{
			Key: lookPrefix + string(l.Hold), Value: value, Rev: l.rev, TTL: time.Until(l.Due) + lookTTL,
		})
	}
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("what waits for the provider's records would not outlive a restart", slog.String("hold", string(l.Hold)), slog.Any("error", err))
		}
		return 0
	}
	return l.rev
}

// claim makes the look this replica's. Should it not come to an end, it is due again a little later.
func (c *corroboration) claim(ctx context.Context, l *look) bool {
	if l.rev == 0 {
		return true
	}
	mine := *l
	mine.Due = time.Now().Add(2 * corroborateTime)
	if mine.rev = c.store(ctx, mine); mine.rev == 0 {
		return false // another replica was first, or the ledger is down, and the next start looks
	}
	*l = mine
	return true
}

func (c *corroboration) forget(ctx context.Context, l look) {
	if l.rev == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	if _, err := c.ledger.Store(ctx, hold.Entry{Key: lookPrefix + string(l.Hold), Rev: l.rev}); err != nil && ctx.Err() == nil {
		c.log.Warn("an approval may be looked up in the provider's records twice", slog.String("hold", string(l.Hold)), slog.Any("error", err))
	}
}

// left returns what an earlier process, or another replica, has not looked up yet, in the order in which it is due.
func (c *corroboration) left(ctx context.Context) (left []look) {
	ctx, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	for e, err := range c.ledger.Watch(ctx, lookPrefix) {
		if err != nil {
			c.log.Warn("approvals of before the start are not looked up in the providers' records", slog.Any("error", err))
			return nil
		}
		if e.Key == "" {
			break
		}
		l := look{rev: e.Rev}
		if e.Value == nil || json.Unmarshal(e.Value, &l.waiting) != nil || e.Key != lookPrefix+string(l.Hold) {
			continue // taken, or not ours
		}
		if _, ok := c.who[l.Provider]; ok {
			left = append(left, l)
		}
	}
	slices.SortFunc(left, func(a, b look) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Hold, b.Hold)) })
	return left
}

// resume looks them up.
func (c *corroboration) resume(ctx context.Context, left []look) {
	for _, l := range left {
		if !c.await(ctx, l) {
			return
		}
	}
}
