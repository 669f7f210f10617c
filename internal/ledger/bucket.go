package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"countersign/internal/hold"
)

// bucket is the stream behind the key-value bucket. It is made, or checked, at first need and not at the start: a sidecar that starts
// while the cluster is away still serves the calls that need no hold.
type bucket struct {
	stream, prefix string
	probe          string // key of the barrier's document, out of reach of callers
	replicas       int
	mustExist      bool // it was there before: if it is gone, something broke

	known atomic.Pointer[bucketFacts] // nil: to be looked at
	turn  chan struct{}               // held by the one who looks
}

type bucketFacts struct {
	replicated bool
	stream     jetstream.Stream
}

// maxMessage is the most that a sealed document and its headers take.
const maxMessage = hold.MaxValue + sealSize + 4<<10

func newBucket(o Options, mustExist bool) bucket {
	return bucket{
		stream: "KV_" + o.Bucket, prefix: "$KV." + o.Bucket + ".", probe: "=probe." + nuid.Next(),
		replicas: o.Replicas, mustExist: mustExist, turn: make(chan struct{}, 1),
	}
}

func (b *bucket) subject(key string) string { return b.prefix + key }

// doubt looks at an error: when it says that the stream is not there, it is looked for again.
func (b *bucket) doubt(err error) {
	if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) {
		b.known.Store(nil)
	}
}

// ensure makes the bucket if there is none, and refuses one that would lose or repeat documents.
func (b *bucket) ensure(ctx context.Context, l *Ledger) (replicated bool, err error) {
	if f := b.known.Load(); f != nil {
		return f.replicated, nil
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if f := b.known.Load(); f != nil {
		return f.replicated, nil
	}
	s, err := l.js.Stream(ctx, b.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) && !b.mustExist {
		s, err = l.js.CreateStream(ctx, b.config())
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another replica was faster, or somebody with other ideas
			s, err = l.js.Stream(ctx, b.stream)
		}
	}
	if err != nil {
		return false, fmt.Errorf("bucket %s: %w", strings.TrimPrefix(b.stream, "KV_"), err)
	}
	cfg := s.CachedInfo().Config
	if err := b.check(cfg); err != nil {
		return false, err
	}
	f := &bucketFacts{replicated: cfg.Replicas > 1, stream: s}
	b.known.Store(f)
	return f.replicated, nil
}

// config is that of a key-value bucket with one value per key. With a longer history a TTL would be raised to the marks'.
func (b *bucket) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:                   b.stream,
		Description:            "Countersign: holds, sealed",
		Subjects:               []string{b.prefix + ">"},
		Storage:                jetstream.FileStorage,
		Replicas:               b.replicas,
		MaxMsgsPerSubject:      1,
		MaxMsgSize:             maxMessage,
		MaxMsgs:                -1,
		MaxBytes:               -1,
		MaxConsumers:           -1,
		Discard:                jetstream.DiscardNew,
		Duplicates:             2 * time.Minute,
		AllowRollup:            true,
		DenyDelete:             true,
		AllowMsgTTL:            true,
		SubjectDeleteMarkerTTL: markTime,
	}
}

// check refuses a bucket, made by somebody else, that does not keep what a ledger promises.
func (b *bucket) check(c jetstream.StreamConfig) error {
	var wrong []string
	for problem, is := range map[string]bool{
		"it must keep exactly one value per key (history 1)":                          c.MaxMsgsPerSubject != 1,
		"it must not expire documents by age (ttl 0)":                                 c.MaxAge != 0,
		fmt.Sprintf("it must keep %d replicas, and keeps %d", b.replicas, c.Replicas): c.Replicas < b.replicas,
		"it must be on disk (storage file)":                                           c.Storage != jetstream.FileStorage || c.PersistMode != jetstream.DefaultPersistMode,
		"it must not drop old documents when it is full (discard new)":                c.Discard != jetstream.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0),
		"it must take TTLs per document and mark their end (limit marker ttl)":        !c.AllowMsgTTL || c.SubjectDeleteMarkerTTL <= 0,
		"it must take removals (allow rollup)":                                        !c.AllowRollup || c.DenyPurge,
		"it must acknowledge writes":                                                  c.NoAck,
		"it is sealed":                                                                c.Sealed,
		"it must not mirror, source or rewrite messages":                              c.Mirror != nil || len(c.Sources) > 0 || c.SubjectTransform != nil,
		"it must take its own keys and nothing else":                                  len(c.Subjects) != 1 || c.Subjects[0] != b.prefix+">",
		fmt.Sprintf("it must take documents of %d bytes", maxMessage):                 c.MaxMsgSize > 0 && c.MaxMsgSize < maxMessage,
	} {
		if is {
			wrong = append(wrong, problem)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%w: bucket %s cannot be used: %s", hold.ErrLedger, strings.TrimPrefix(b.stream, "KV_"), strings.Join(sorted(wrong), "; "))
}
