package notify

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	ordinaryWindow   = 24 * time.Hour
	escalationWindow = 72 * time.Hour
	ephemeralWindow  = 10 * time.Minute

	firstPause        = time.Second
	ordinaryPause     = 5 * time.Minute // the longest between two attempts at one event
	escalationPause   = time.Minute
	sinkPause         = 30 * time.Second // the longest that one failure keeps a sink's other events waiting
	maxBackoffDoubles = 12

	refusalsOfSink = 3 // in a row: no longer about single events
)

// work delivers the events of one sink, one at a time, until Close has drained it or given up.
func (b *Outbox) work(ctx context.Context, l *lane) {
	drained := b.drained
	for {
		d, wait, more := b.next(l)
		if d != nil {
			b.attempt(ctx, l, d)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		if drained == nil {
			return // what is left is not due yet, and stays on disk
		}
		var due <-chan time.Time
		var timer *time.Timer
		if more {
			timer = time.NewTimer(wait)
			due = timer.C
		}
		select {
		case <-l.wake:
		case <-due:
		case <-drained:
			drained = nil
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// next returns the delivery to try now: escalations first, then in the order in which they came. Without one it says how
// long to wait, if there is any.
func (b *Outbox) next(l *lane) (d *delivery, wait time.Duration, more bool) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.disabled {
		return nil, 0, false
	}
	var soonest time.Time
	for _, c := range l.queue {
		due := c.due
		if l.pausedUntil.After(due) {
			due = l.pausedUntil
		}
		if !due.After(now) {
			if d == nil || c.escalation() && !d.escalation() {
				d = c
			}
			continue
		}
		if soonest.IsZero() || due.Before(soonest) {
			soonest = due
		}
	}
	if d != nil || soonest.IsZero() {
		return d, 0, false
	}
	return nil, soonest.Sub(now), true
}

// attempt tries one delivery and keeps the books on it.
func (b *Outbox) attempt(ctx context.Context, l *lane, d *delivery) {
	if !time.Now().Before(l.sink.deadline(d)) {
		b.giveUp(l, d, "nobody took it in time", 0)
		return
	}
	start := time.Now()
	r := l.sink.send(ctx, d.Event)
	took := time.Since(start)
	if ctx.Err() != nil && r.verdict == retry {
		return // stopped by Close: it says nothing about the sink
	}
	switch r.verdict {
	case delivered:
		b.settle(l, d)
		b.o.Observe(Metric{Sink: l.sink.Name, Event: d.Event.Type, Outcome: Delivered, Took: took})
		b.log.Debug("notify: delivered", append(d.Event.attrs(), slog.String("sink", l.sink.Name))...)
	case refused:
		b.refuse(l, r)
		b.giveUp(l, d, r.fault, took)
	case gone:
		b.mu.Lock()
		l.disabled = true
		b.mu.Unlock()
		b.log.Error("notify: the sink answered 410 Gone and is off until a restart", slog.String("sink", l.sink.Name))
		b.giveUp(l, d, r.fault, took)
	case retry:
		b.postpone(l, d, r)
		b.o.Observe(Metric{Sink: l.sink.Name, Event: d.Event.Type, Outcome: Retried, Took: took})
	default:
		b.postpone(l, d, r)
	}
}

// settle ends a delivery that arrived.
func (b *Outbox) settle(l *lane, d *delivery) {
	b.mu.Lock()
	recovered := !l.failingSince.IsZero()
	l.failures, l.refusals, l.failingSince, l.pausedUntil, l.fault = 0, 0, time.Time{}, time.Time{}, ""
	l.dropLocked(d)
	ours := d.ephemeral || b.spool.forgetLocked(d)
	b.mu.Unlock()
	if ours {
		b.spool.remove(d)
	}
	if recovered {
		b.log.Info("notify: the sink takes events again", slog.String("sink", l.sink.Name))
	}
}

// refuse notes that the sink wants this event at no time. One such answer may be about the event, a ticket that is closed
// say; wrong credentials, or several in a row, are about the sink.
func (b *Outbox) refuse(l *lane, r result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.refusals++
	if r.rights || l.refusals >= refusalsOfSink {
		l.failLocked(r.fault)
	}
}

func (l *lane) failLocked(why string) {
	if l.failingSince.IsZero() {
		l.failingSince = time.Now()
	}
	l.fault = why
}

// postpone puts a delivery off, and pauses the sink for a while: a sink that is down is not asked once for every event that
// waits, and an event that is the fault itself does not keep the others.
func (b *Outbox) postpone(l *lane, d *delivery, r result) {
	now := time.Now()
	b.mu.Lock()
	l.failLocked(r.fault)
	d.attempts++
	l.failures++
	limit := ordinaryPause
	if d.escalation() {
		limit = escalationPause
	}
	d.due = now.Add(max(backoff(d.attempts, limit), r.after))
	l.pausedUntil = now.Add(max(backoff(l.failures, sinkPause), r.after))
	first := d.attempts == 1
	b.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	b.log.Log(context.Background(), level, "notify: not delivered, will be tried again",
		append(d.Event.attrs(), slog.String("sink", l.sink.Name), slog.String("fault", r.fault))...)
}

// backoff doubles from a second to limit, and takes off up to half at random so that replicas do not knock together.
func backoff(attempt int, limit time.Duration) time.Duration {
	full := min(firstPause<<min(attempt-1, maxBackoffDoubles), limit)
	return full - rand.N(full/2) //nolint:gosec // no secret: it spreads attempts
}

// giveUp ends a delivery that will not arrive. Its record is kept in dead/ for a person to look at.
func (b *Outbox) giveUp(l *lane, d *delivery, why string, took time.Duration) {
	b.mu.Lock()
	l.dropLocked(d)
	ours := d.ephemeral || b.spool.forgetLocked(d)
	b.mu.Unlock()
	if !ours {
		return // evicted meanwhile, and counted there
	}
	b.bury(d, why)
	b.o.Observe(Metric{Sink: l.sink.Name, Event: d.Event.Type, Outcome: Dead, Took: took})
}

func (b *Outbox) bury(d *delivery, why string) {
	if d.name != "" {
		b.spool.setAside(d.name)
	}
	level := slog.LevelWarn
	if d.escalation() {
		level = slog.LevelError
	}
	b.log.Log(context.Background(), level, "notify: event given up", append(d.Event.attrs(), slog.String("sink", d.Sink),
		slog.String("ticket", d.Event.Ticket), slog.String("state", d.Event.State), slog.String("why", why))...)
}
