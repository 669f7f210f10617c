package notify

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// lane is the queue of one sink and the state of its worker.
type lane struct {
	sink      compiled
	transport interface{ CloseIdleConnections() }
	wake      chan struct{}

	// Guarded by the Outbox's mutex.
	queue        []*delivery // in the order in which they came
	disabled     bool        // it answered 410
	pausedUntil  time.Time
	failures     int // in a row, that may pass
	refusals     int // in a row, that will not
	failingSince time.Time
	fault        string
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) dropLocked(d *delivery) {
	l.queue = slices.DeleteFunc(l.queue, func(c *delivery) bool { return c == d })
}

// write is the one goroutine that writes to the spool. Escalations go first: their callers wait.
func (b *Outbox) write(ctx context.Context) {
	defer close(b.drained)
	for {
		select {
		case x := <-b.urgent:
			x.done <- b.accept(x.event)
			continue
		default:
		}
		select {
		case x := <-b.urgent:
			x.done <- b.accept(x.event)
		case e, ok := <-b.events:
			switch {
			case !ok:
				return
			case ctx.Err() != nil: // Close ran out of time
				b.drop(nil, e, "no time to write it before the stop: it is told after the next start")
			default:
				b.accept(e)
				b.noted(e)
			}
		}
	}
}

// accept gives an event to every sink that takes it, and reports whether one of them has it on disk.
func (b *Outbox) accept(e Event) bool {
	durable := false
	for _, l := range b.lanes {
		if !l.sink.wants(e.Type) {
			continue
		}
		if why := l.sink.unfit(e); why != "" {
			b.drop(l, e, why)
			continue
		}
		if b.enqueue(l, e) {
			durable = true
		}
	}
	return durable
}

// enqueue adds an event to one lane and reports whether it is on disk.
func (b *Outbox) enqueue(l *lane, e Event) bool {
	now := time.Now()
	if e.Code != "" && l.sink.Codes {
		b.enqueueEphemeral(l, e, now)
		return false
	}
	e.Code = ""
	d := &delivery{Version: spoolVersion, Sink: l.sink.Name, QueuedAt: now.UTC(), Event: e, key: deliveryKey(l.sink.Name, e.ID)}
	text, err := encode(d)
	if err != nil || len(text)+1 > maxRecord {
		b.log.Error("notify: event does not fit", e.attrs()...)
		return false
	}
	text = append(text, '\n')
	d.size = int64(len(text))

	b.mu.Lock()
	if l.disabled {
		b.mu.Unlock()
		b.drop(l, e, "the sink is off until a restart")
		return false
	}
	if known := b.spool.index[d.key]; known != nil {
		b.mu.Unlock()
		return known.name != "" // told again before it was delivered
	}
	evicted, err := b.spool.reserveLocked(d)
	for _, old := range evicted {
		b.laneOf(old).dropLocked(old)
	}
	b.mu.Unlock()
	for _, old := range evicted {
		b.spool.remove(old)
		b.drop(b.laneOf(old), old.Event, "the spool is full")
	}
	if err != nil {
		b.drop(l, e, "the spool is full")
		return false
	}
	if err := b.spool.write(d, text); err != nil {
		b.mu.Lock()
		b.spool.forgetLocked(d)
		b.mu.Unlock()
		b.spool.remove(d) // its name may be there, and not be durable
		b.drop(l, e, err.Error())
		return false
	}
	b.push(l, d)
	return true
}

func (b *Outbox) enqueueEphemeral(l *lane, e Event, now time.Time) {
	d := &delivery{Sink: l.sink.Name, QueuedAt: now, Event: e, ephemeral: true}
	b.mu.Lock()
	waiting := 0
	for _, c := range l.queue {
		if c.ephemeral {
			waiting++
		}
	}
	full := waiting >= maxEphemeral || l.disabled
	b.mu.Unlock()
	if full {
		b.drop(l, e, "too many events with a code wait, or the sink is off")
		return
	}
	b.push(l, d)
}

func (b *Outbox) push(l *lane, d *delivery) {
	b.mu.Lock()
	l.queue = append(l.queue, d)
	b.mu.Unlock()
	b.o.Observe(Metric{Sink: l.sink.Name, Event: d.Event.Type, Outcome: Queued})
	l.poke()
}

func (b *Outbox) laneOf(d *delivery) *lane {
	i := slices.IndexFunc(b.lanes, func(l *lane) bool { return l.sink.Name == d.Sink })
	return b.lanes[i] // recover buries what has no lane
}

// drop counts and logs an event that will not be sent; l is nil when it never got as far as a sink.
func (b *Outbox) drop(l *lane, e Event, why string) {
	sink := ""
	if l != nil {
		sink = l.sink.Name
	}
	b.o.Observe(Metric{Sink: sink, Event: e.Type, Outcome: Dropped})
	b.log.Warn("notify: event dropped", append(e.attrs(), slog.String("sink", sink), slog.String("why", why))...)
}
