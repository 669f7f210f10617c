package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"countersign/internal/hold"
)

const (
	heartbeat = 2 * time.Second // of a watch at rest; two missed end it
	pullTime  = 30 * time.Second
	pullMost  = 256
)

// errLeft says that the reader of a watch has left.
var errLeft = errors.New("left")

// Watch yields what is there under prefix, a mark, and then every change, until ctx ends or the watch breaks off. It then has to be
// begun anew: nothing is resumed, so nothing is missed. A document that is not authentic is logged and left out: Load refuses it, and one
// bad document must not blind a desk to all others.
func (l *Ledger) Watch(ctx context.Context, prefix string) iter.Seq2[hold.Entry, error] {
	return func(yield func(hold.Entry, error) bool) {
		if prefix != "" && (!strings.HasSuffix(prefix, ".") || !wellFormed(strings.TrimSuffix(prefix, "."))) {
			yield(hold.Entry{}, hold.ErrKey)
			return
		}
		c, done, err := l.begin(ctx, 0)
		if err != nil {
			yield(hold.Entry{}, fmt.Errorf("watch %s: %w", prefix, err))
			return
		}
		defer done()
		err = l.watch(c, prefix, func(e hold.Entry) bool { return c.Err() == nil && yield(e, nil) })
		switch {
		case errors.Is(err, errLeft) && c.Err() == nil:
		case ctx.Err() == nil && c.Err() != nil:
			yield(hold.Entry{}, fmt.Errorf("watch %s: %w", prefix, ErrClosed))
		default:
			yield(hold.Entry{}, l.failed(ctx, "watch", prefix, err))
		}
	}
}

func (l *Ledger) watch(ctx context.Context, prefix string, yield func(hold.Entry) bool) error {
	mark := l.bucket.subject("=mark." + nuid.Next())
	consumer, err := l.follow(ctx, prefix, mark)
	if err != nil {
		return err
	}
	defer l.unfollow(ctx, consumer)
	messages, err := consumer.Messages(jetstream.PullMaxMessages(pullMost), jetstream.PullExpiry(pullTime),
		jetstream.PullHeartbeat(heartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer messages.Stop()
	w := watching{l: l, mark: mark, there: map[string]struct{}{}}
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		e, tell, err := w.take(msg)
		if err != nil {
			return err
		}
		if tell && !yield(e) {
			return errLeft
		}
	}
}

// follow makes the consumer behind a watch: in memory, on one server, gone soon after its reader. That server may lag behind, and then
// knows of nothing that is there. So a mark is written once it is made, and what was there has come when the mark comes.
func (l *Ledger) follow(ctx context.Context, prefix, mark string) (jetstream.Consumer, error) {
	c, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := l.bucket.ensure(c, l); err != nil {
		return nil, err
	}
	filters := []string{l.bucket.subject(prefix) + ">"}
	if prefix != "" {
		filters = append(filters, mark)
	}
	consumer, err := l.js.CreateConsumer(c, l.bucket.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubjects:    filters,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 2 * time.Minute,
	})
	if err != nil {
		l.bucket.doubt(err)
		return nil, err
	}
	return consumer, l.touch(c, mark, time.Minute)
}

func (l *Ledger) unfollow(ctx context.Context, consumer jetstream.Consumer) {
	if l.nc.Status() != nats.CONNECTED {
		return
	}
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = l.js.DeleteConsumer(c, l.bucket.stream, consumer.CachedInfo().Name) // the server removes it by itself later
}

// watching is the state of one watch.
type watching struct {
	l     *Ledger
	mark  string              // subject of the message behind which changes begin
	there map[string]struct{} // yielded before the mark; nil: it has come
	taken uint64
}

// take makes an entry of a message, and says whether it is for the reader.
func (w *watching) take(msg jetstream.Msg) (e hold.Entry, tell bool, err error) {
	meta, err := msg.Metadata()
	if err != nil {
		return hold.Entry{}, false, fmt.Errorf("read a change: %w", err)
	}
	w.taken++
	if meta.Sequence.Consumer != w.taken {
		return hold.Entry{}, false, errors.New("a change was lost on the way")
	}
	m := message{key: strings.TrimPrefix(msg.Subject(), w.l.bucket.prefix), seq: meta.Sequence.Stream, removed: isMark(msg.Headers()), data: msg.Data()}
	switch _, known := w.there[m.key]; {
	case msg.Subject() == w.mark && w.there != nil:
		w.there = nil
		return hold.Entry{}, true, nil
	case !wellFormed(m.key): // a mark or a barrier
		return hold.Entry{}, false, nil
	case m.removed && w.there != nil && !known: // gone before this watch began
		return hold.Entry{}, false, nil
	}
	if e, err = w.l.entry(m); err != nil {
		w.l.foreign.Store(time.Now().UnixNano())
		w.l.o.Logger.Error("ledger: document left out of a watch", "key", m.key, "error", err)
		return hold.Entry{}, false, nil
	}
	if w.there != nil {
		w.there[m.key] = struct{}{}
	}
	return e, true, nil
}
