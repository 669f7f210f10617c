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

	"countersign/internal/hold"
)

const (
	heartbeat = 3 * time.Second // of a watch at rest; two missed end it
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
	consumer, err := l.follow(ctx, prefix)
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
	w := watching{l: l, messages: messages, there: consumer.CachedInfo().NumPending}
	for {
		if !w.marked && w.initial(ctx, consumer) {
			w.marked = true
			if !yield(hold.Entry{}) {
				return errLeft
			}
		}
		e, err := w.next(ctx)
		if err != nil {
			return err
		}
		if e.Key != "" && !yield(e) {
			return errLeft
		}
	}
}

// follow makes the consumer behind a watch: in memory, on one server, gone soon after its reader.
func (l *Ledger) follow(ctx context.Context, prefix string) (jetstream.Consumer, error) {
	c, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := l.bucket.ensure(c, l); err != nil {
		return nil, err
	}
	consumer, err := l.js.CreateConsumer(c, l.bucket.stream, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverLastPerSubjectPolicy,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubject:     l.bucket.subject(prefix) + ">",
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 2 * time.Minute,
	})
	if err != nil {
		l.bucket.doubt(err)
	}
	return consumer, err
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
	l        *Ledger
	messages jetstream.MessagesContext
	there    uint64 // messages to come that were there when it began
	taken    uint64
	behind   uint64 // messages that the server still had when it sent the last one
	quiet    bool   // the last wait for a message was in vain
	marked   bool
}

// initial reports whether all that was there has been yielded. What is replaced meanwhile comes later or, if it was a mark that
// ended, not at all; so when nothing comes the server is asked.
func (w *watching) initial(ctx context.Context, consumer jetstream.Consumer) bool {
	if w.taken >= w.there || w.taken > 0 && w.behind == 0 {
		return true
	}
	if !w.quiet {
		return false
	}
	c, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	info, err := consumer.Info(c)
	return err == nil && info.NumPending == 0 && info.Delivered.Consumer == w.taken
}

// next waits for a change. Without an error and a key, there was none for the reader.
func (w *watching) next(ctx context.Context) (hold.Entry, error) {
	c := ctx
	if !w.marked {
		var cancel context.CancelFunc
		c, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	msg, err := w.messages.Next(jetstream.NextContext(c))
	if err != nil {
		if w.quiet = c.Err() != nil && ctx.Err() == nil; w.quiet {
			return hold.Entry{}, nil
		}
		return hold.Entry{}, err
	}
	w.quiet = false
	meta, err := msg.Metadata()
	if err != nil {
		return hold.Entry{}, fmt.Errorf("read a change: %w", err)
	}
	w.taken++
	if meta.Sequence.Consumer != w.taken {
		return hold.Entry{}, errors.New("a change was lost on the way")
	}
	w.behind = meta.NumPending
	m := message{key: strings.TrimPrefix(msg.Subject(), w.l.bucket.prefix), seq: meta.Sequence.Stream, removed: isMark(msg.Headers()), data: msg.Data()}
	if !wellFormed(m.key) || m.removed && !w.marked {
		return hold.Entry{}, nil // a barrier's, or gone before this watch began
	}
	e, err := w.l.entry(m)
	if err != nil {
		w.l.o.Logger.Error("ledger: document left out of a watch", "key", m.key, "error", err)
		return hold.Entry{}, nil
	}
	return e, nil
}
