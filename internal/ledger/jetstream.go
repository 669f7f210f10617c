package ledger

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"countersign/internal/hold"
)

// Ledger keeps the documents of holds in one JetStream key-value bucket: on this machine's disk, or on a cluster that replicas share.
// Documents are sealed, so that who can read the bucket learns nothing but keys and who can write to it approves nothing.
type Ledger struct {
	o       Options
	nc      *nats.Conn
	js      jetstream.JetStream
	box     *box
	seen    seen
	bucket  bucket
	barrier barrier
	server  *embedded    // nil: shared
	foreign atomic.Int64 // when a watch last met a document that is not authentic, in Unix nanoseconds

	mu     sync.Mutex
	closed bool
	ends   map[int]context.CancelFunc // of calls under way
	calls  sync.WaitGroup
	serial int
}

var _ hold.Ledger = (*Ledger)(nil)

// ErrClosed is what every call returns once the ledger was closed.
var ErrClosed = fmt.Errorf("%w: closed", hold.ErrLedger)

const (
	answerTime = 5 * time.Second // how long the servers may take over one request
	readyTime  = 2 * time.Second // …and how long before the ledger counts as too slow to be ready
	foreignFor = 5 * time.Minute // how long a document that is not authentic shows in readiness
	markTime   = 5 * time.Minute // how long a removal stays visible to watches
)

// Names of headers that key-value buckets use, as in NATS ADR-8 and ADR-43.
const (
	operationHeader = "KV-Operation"
	purge           = "PURGE"
)

// Load returns the document of key; Rev 0 where there is none.
func (l *Ledger) Load(ctx context.Context, key string) (hold.Entry, error) {
	if !wellFormed(key) {
		return hold.Entry{}, hold.ErrKey
	}
	c, done, err := l.begin(ctx, answerTime)
	if err != nil {
		return hold.Entry{}, fmt.Errorf("load %s: %w", key, err)
	}
	defer done()
	m, err := l.read(c, key)
	if err != nil {
		return hold.Entry{}, l.failed(ctx, "load", key, err)
	}
	return m, nil
}

func (l *Ledger) read(ctx context.Context, key string) (hold.Entry, error) {
	replicated, err := l.bucket.ensure(ctx, l)
	if err != nil {
		return hold.Entry{}, err
	}
	if replicated {
		if err := l.barrier.pass(ctx); err != nil {
			return hold.Entry{}, err
		}
	}
	m, err := l.last(ctx, key)
	if err == nil && m.seq == 0 && l.server != nil {
		m, err = l.absent(ctx, key)
	}
	if err != nil {
		return hold.Entry{}, err
	}
	e, err := l.entry(m)
	if err != nil || e.Value == nil {
		return hold.Entry{Key: key}, err
	}
	return e, nil
}

// Store writes or removes a document that is still at e.Rev.
func (l *Ledger) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	switch {
	case !wellFormed(e.Key):
		return 0, hold.ErrKey
	case len(e.Value) > hold.MaxValue:
		return 0, hold.ErrTooLarge
	}
	c, done, err := l.begin(ctx, answerTime)
	if err != nil {
		return 0, fmt.Errorf("store %s: %w", e.Key, err)
	}
	defer done()
	rev, err := l.write(c, e)
	if err != nil {
		return 0, l.failed(ctx, "store", e.Key, err)
	}
	return rev, nil
}

func (l *Ledger) write(ctx context.Context, e hold.Entry) (uint64, error) {
	if e.Value == nil && e.Rev == 0 {
		there, err := l.read(ctx, e.Key)
		if err == nil && there.Rev != 0 {
			err = hold.ErrStale
		}
		return 0, err
	}
	if _, err := l.bucket.ensure(ctx, l); err != nil {
		return 0, err
	}
	rev, err := l.publish(ctx, e, e.Rev)
	if e.Rev != 0 || !errors.Is(err, hold.ErrStale) {
		return rev, err
	}
	// The subject of a removed document holds a mark for a while, which is what a new one then replaces. It does not matter whether
	// this read is stale: the compare-and-set finds out.
	m, err := l.last(ctx, e.Key)
	if err != nil {
		return 0, err
	}
	if m.seq == 0 || !m.removed {
		return 0, hold.ErrStale
	}
	l.seen.note(e.Key, m.seq)
	return l.publish(ctx, e, m.seq)
}

// publish is one compare-and-set on the subject of e, which must be at prev. The leader refuses it, done nothing, while an earlier write of the
// same document is under way, and for a moment after that one was acknowledged. What is then behind the barrier is judged on its revision.
func (l *Ledger) publish(ctx context.Context, e hold.Entry, prev uint64) (uint64, error) {
	for {
		rev, err := l.send(ctx, e, prev)
		if !refused(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			return rev, err
		}
		if err := l.barrier.pass(ctx); err != nil {
			return 0, err
		}
	}
}

// send sends a write once: a repetition could find the first one done.
func (l *Ledger) send(ctx context.Context, e hold.Entry, prev uint64) (uint64, error) {
	m := nats.NewMsg(l.bucket.subject(e.Key))
	life := e.TTL
	if e.Value == nil {
		m.Header.Set(operationHeader, purge)
		m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
		life = markTime
	} else {
		m.Data = l.box.seal(e.Key, prev, e.Value)
	}
	if life > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, seconds(life))
	}
	ack, err := l.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0),
		jetstream.WithExpectStream(l.bucket.stream), jetstream.WithExpectLastSequencePerSubject(prev))
	if refused(err, jetstream.JSErrCodeStreamWrongLastSequence) {
		return 0, hold.ErrStale
	}
	if err != nil {
		l.bucket.doubt(err)
		return 0, err
	}
	l.seen.note(e.Key, ack.Sequence)
	if l.server != nil {
		if err := l.server.water.raise(ack.Sequence); err != nil {
			return 0, err
		}
	}
	if e.Value == nil {
		return 0, nil
	}
	return ack.Sequence, nil
}

// refused reports whether the leader answered a write with this code.
func refused(err error, code jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == code
}

// failed says what went wrong. Only the caller's own context shows as such: that the servers did not answer in our time is their failure.
func (l *Ledger) failed(ctx context.Context, op, key string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s %s: %w", op, key, ctx.Err())
	case errors.Is(err, hold.ErrStale), errors.Is(err, hold.ErrLedger):
		return fmt.Errorf("%s %s: %w", op, key, err)
	default:
		return fmt.Errorf("%w: %s %s: %s", hold.ErrLedger, op, key, err.Error()) // not wrapped: a time-out of ours is not the caller's
	}
}

// begin opens a call that ends by ctx, after limit (0: none), or when the ledger is closed.
func (l *Ledger) begin(ctx context.Context, limit time.Duration) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	var cancel context.CancelFunc
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	l.serial++
	id := l.serial
	l.ends[id] = cancel
	l.calls.Add(1)
	return ctx, func() {
		l.mu.Lock()
		delete(l.ends, id)
		l.mu.Unlock()
		cancel()
		l.calls.Done()
	}, nil
}

// Ready reports whether the ledger takes writes, by one that changes no document, and takes them soon enough. Documents that do
// not authenticate, because replicas differ in their key or somebody else writes there, show for five minutes.
func (l *Ledger) Ready(ctx context.Context) error {
	c, done, err := l.begin(ctx, readyTime)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer done()
	if _, err = l.bucket.ensure(c, l); err == nil {
		err = l.barrier.pass(c)
	}
	switch {
	case err == nil && time.Since(time.Unix(0, l.foreign.Load())) < foreignFor:
		return fmt.Errorf("%w: documents of somebody without this key are there", ErrUnauthentic)
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer to a write within %s: %s", hold.ErrLedger, readyTime, l.nc.Status())
	default:
		return fmt.Errorf("%w: %s", hold.ErrLedger, err.Error()) // as above
	}
}

// probe writes the message that barriers write.
func (l *Ledger) probe(ctx context.Context) error {
	return l.touch(ctx, l.bucket.subject(l.bucket.probe), time.Hour)
}

// touch writes an empty message, out of reach of callers: its subject is no well-formed key's.
func (l *Ledger) touch(ctx context.Context, subject string, life time.Duration) error {
	m := nats.NewMsg(subject)
	m.Header.Set(jetstream.MsgTTLHeader, seconds(life))
	_, err := l.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0), jetstream.WithExpectStream(l.bucket.stream))
	if err != nil {
		l.bucket.doubt(err)
	}
	return err
}

// seconds is a TTL as servers take it: whole seconds, and never less than was asked for.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10) + "s"
}

// Close ends what is under way, and with it every watch, and gives back what Open took. Documents stay.
func (l *Ledger) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	for _, end := range l.ends {
		end()
	}
	l.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.calls.Wait()
		l.nc.Close() // barriers that still wait end with it
		l.barrier.wg.Wait()
		if l.server != nil {
			l.server.stop()
		}
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close ledger: %w", ctx.Err())
	}
}
