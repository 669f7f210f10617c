package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"countersign/internal/hold"
)

// Look tells whether the ledger can be reached and whether its bucket is there and fit to be used. It writes nothing: a bucket that is not there
// is made at first need.
func (l *Ledger) Look(ctx context.Context) (made bool, err error) {
	c, done, err := l.begin(ctx, answerTime)
	if err != nil {
		return false, fmt.Errorf("ledger: %w", err)
	}
	defer done()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !l.nc.IsConnected() {
		select {
		case <-again.C:
		case <-c.Done():
			if last := l.nc.LastError(); last != nil {
				return false, fmt.Errorf("%w: no connection within %s: %s", hold.ErrLedger, answerTime, last.Error())
			}
			return false, fmt.Errorf("%w: no server of ledger.url answers within %s", hold.ErrLedger, answerTime)
		}
	}
	s, err := l.js.Stream(c, l.bucket.stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return false, nil
	case err != nil:
		return false, l.failed(ctx, "look at", "the bucket", err)
	}
	return true, l.bucket.check(s.CachedInfo().Config)
}
