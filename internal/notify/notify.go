// Package notify tells people and systems what becomes of holds: signed CloudEvents to webhooks, messages to Slack and
// Microsoft Teams, notes on tickets. An event is on disk before it is acknowledged, is delivered at least once under an id
// that never changes, and never delays a hold.
//
// One thing never reaches the disk: the code of a verified push. An event that carries one goes from memory, to the sinks
// that ask for codes, and is gone with the process.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	queueSize     = 1024            // events that wait for the disk
	maxEphemeral  = 256             // events with a code that wait in memory, for each sink
	drainTime     = 5 * time.Second // Close without a deadline
	maxCountLimit = 100_000
)

// Options configure an Outbox. They are plain data.
type Options struct {
	Dir    string // of the spool; made when it is not there. One process only
	Sinks  []Sink
	Source string // CloudEvents source, a URI reference that names this sidecar; "" is "/countersign"

	MaxEvents int           // in the spool; 0: 10000
	MaxBytes  int64         // of the spool; 0: 64 MiB
	WarnAfter time.Duration // how long a sink fails before Ready says so; 0: 5m

	Logger  *slog.Logger // nil: no log
	Observe func(Metric) // nil: nobody counts. It is called from several goroutines and must not block

	roundTripper http.RoundTripper // tests only
}

// Metric is one thing that happened to one event on its way to one sink. Its fields come from closed lists and from the
// configuration, so that they can be labels.
type Metric struct {
	Sink    string // "" when the event never got as far as a sink
	Event   Type
	Outcome Outcome
	Took    time.Duration // of the attempt, with Delivered, Retried and Dead
}

// Outcome is what happened to an event.
type Outcome string

// The outcomes. Dropped was never sent for want of room; Dead was given up.
const (
	Queued    Outcome = "queued"
	Delivered Outcome = "delivered"
	Retried   Outcome = "retried"
	Dead      Outcome = "dead"
	Dropped   Outcome = "dropped"
)

// Outbox queues events on disk and delivers them in the background. It is safe for concurrent use.
type Outbox struct {
	o       Options
	log     *slog.Logger
	spool   *spool
	inbox   *inbox
	lanes   []*lane
	events  chan Event
	urgent  chan escalation
	drained chan struct{} // the writer has put the last one on disk
	abort   context.CancelFunc
	wg      sync.WaitGroup
	once    sync.Once

	lifeMu sync.RWMutex // held while an event is handed to the writer, so that Close sees the last one
	closed bool

	mu sync.Mutex // over the lanes' queues and the spool's index
}

// escalation is an event whose caller waits for the disk.
type escalation struct {
	event Event
	done  chan bool
}

// Open reads what the spool holds from before and starts to deliver. It makes no call itself, and reports everything that
// is wrong with the options at once.
func Open(o Options) (*Outbox, error) {
	lanes, err := compile(&o)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(Metric) {}
	}
	sp, err := openSpool(o.Dir, o.MaxEvents, o.MaxBytes, o.Logger)
	if err != nil {
		return nil, err
	}
	in, taken, err := openInbox(o.Dir)
	if err != nil {
		return nil, errors.Join(err, sp.close())
	}
	b := &Outbox{
		o: o, log: o.Logger, spool: sp, inbox: in, lanes: lanes,
		events: make(chan Event, queueSize), urgent: make(chan escalation),
		drained: make(chan struct{}),
	}
	if err := b.recover(); err != nil {
		return nil, errors.Join(err, in.close(), sp.close())
	}
	for _, e := range taken {
		b.accept(e) // one that has been delivered is delivered again, under its id
	}
	if err := in.empty(); err != nil {
		return nil, errors.Join(err, in.close(), sp.close())
	}
	ctx, abort := context.WithCancel(context.Background())
	b.abort = abort
	b.wg.Go(func() { b.write(ctx) })
	for _, l := range lanes {
		b.wg.Go(func() { b.work(ctx, l) })
	}
	return b, nil
}

// recover puts what the spool holds back into the queues of its sinks.
func (b *Outbox) recover() error {
	found, err := b.spool.load()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range found {
		i := slices.IndexFunc(b.lanes, func(l *lane) bool { return l.sink.Name == d.Sink })
		if i < 0 {
			b.spool.forgetLocked(d)
			b.bury(d, "there is no such sink any more")
			continue
		}
		b.lanes[i].queue = append(b.lanes[i].queue, d)
	}
	return nil
}

// Notify queues an event for every sink that takes its type, and has it written before it returns, though not synced: it
// outlives the process. It never waits for the spool: when the disk is too slow for the events that come, it drops this one,
// counts it and logs it.
func (b *Outbox) Notify(e Event) {
	if err := e.complete(); err != nil {
		b.log.Error("notify: not an event", slog.Any("error", err))
		return
	}
	b.lifeMu.RLock()
	defer b.lifeMu.RUnlock()
	if !b.closed {
		b.note(e)
		select {
		case b.events <- e:
			return
		default:
			b.noted(e)
		}
	}
	b.o.Observe(Metric{Event: e.Type, Outcome: Dropped})
	b.log.Warn("notify: event dropped, the queue is full or closed", e.attrs()...)
}

// note writes down that an event was taken. One with a code is kept in memory only: see Event.Code.
func (b *Outbox) note(e Event) {
	if e.Code != "" {
		return
	}
	if err := b.inbox.add(e); err != nil {
		b.log.Warn("notify: event is in memory only until the spool has it", append(e.attrs(), slog.Any("error", err))...)
	}
}

// noted says that the spool has the event, or that it was dropped.
func (b *Outbox) noted(e Event) {
	if e.Code != "" {
		return
	}
	if err := b.inbox.done(); err != nil {
		b.log.Warn("notify: events may be told again after a restart", slog.Any("error", err))
	}
}

// Escalate queues an escalation.requested event and reports whether a technician will hear of it: at least one sink takes
// escalations and has the event on disk. It waits for the disk, no longer than ctx. A false may still be delivered.
func (b *Outbox) Escalate(ctx context.Context, e Event) bool {
	e.Type, e.Code = EscalationRequested, ""
	if err := e.complete(); err != nil {
		b.log.Error("notify: not an event", slog.Any("error", err))
		return false
	}
	x := escalation{event: e, done: make(chan bool, 1)}
	if ctx.Err() != nil || !b.submit(ctx, x) {
		b.log.Error("notify: escalation not queued", e.attrs()...)
		return false
	}
	select {
	case ok := <-x.done:
		if !ok {
			b.log.Error("notify: escalation not queued, no sink could take it", e.attrs()...)
		}
		return ok
	case <-ctx.Done():
		b.log.Error("notify: escalation not on disk in time", e.attrs()...)
		return false
	}
}

func (b *Outbox) submit(ctx context.Context, x escalation) bool {
	b.lifeMu.RLock()
	defer b.lifeMu.RUnlock()
	if b.closed {
		return false
	}
	select {
	case b.urgent <- x:
		return true
	case <-ctx.Done():
		return false
	}
}

// Escalates reports whether any sink that has not been switched off takes escalations. Without one, nobody is told.
func (b *Outbox) Escalates() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.lanes, func(l *lane) bool { return !l.disabled && l.sink.wants(EscalationRequested) })
}

// Ready says, a sentence each, which sinks have failed for longer than WarnAfter, or are switched off. These are warnings:
// a sidecar whose sinks fail holds, asks and refuses as ever.
func (b *Outbox) Ready() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var warnings []string
	for _, l := range b.lanes {
		switch {
		case l.disabled:
			warnings = append(warnings, fmt.Sprintf("notification sink %s is off until a restart: it answered 410 Gone", l.sink.Name))
		case !l.failingSince.IsZero() && time.Since(l.failingSince) >= b.o.WarnAfter:
			warnings = append(warnings, fmt.Sprintf("notification sink %s has failed since %s (%s); %d events wait",
				l.sink.Name, l.failingSince.UTC().Format(time.RFC3339), l.fault, len(l.queue)))
		}
	}
	return warnings
}

// Close stops taking events, puts those that it took on disk, and tries to deliver what is due until ctx ends, or for five
// seconds where it has no deadline. What is left on disk is delivered after the next Open.
func (b *Outbox) Close(ctx context.Context) error {
	var err error
	b.once.Do(func() { err = b.close(ctx) })
	return err
}

func (b *Outbox) close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, drainTime)
		defer cancel()
	}
	b.lifeMu.Lock()
	b.closed = true
	close(b.events)
	b.lifeMu.Unlock()

	stopped := make(chan struct{})
	go func() { // ends with the writer and the workers, which end when aborted
		b.wg.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		b.abort()
		<-stopped
	}
	b.abort()
	lost := 0
	for _, l := range b.lanes {
		l.transport.CloseIdleConnections()
		for _, d := range l.queue {
			if d.ephemeral {
				lost++
			}
		}
	}
	if lost > 0 {
		b.log.Warn("notify: events with a code were not delivered and are gone", slog.Int("events", lost))
	}
	return errors.Join(b.inbox.close(), b.spool.close())
}
