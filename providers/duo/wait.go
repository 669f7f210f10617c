package duo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"countersign/providers"
)

const (
	// waitLimit bounds a Wait whose context has no deadline. Duo ends a push after a minute by itself; the rest is for
	// outages in which the answer is there and cannot be fetched.
	waitLimit = 3 * time.Minute

	quickAnswer = time.Second // a "waiting" that comes sooner was no long poll
	firstPause  = time.Second
	quickPause  = 2 * time.Second  // longest pause after an early "waiting": the person's answer waits for it
	longPause   = 8 * time.Second  // longest pause after failures
	longestHint = 30 * time.Second // longest Retry-After that is honoured
)

// Wait polls until Duo knows the person's answer. Polling changes nothing, so failures are retried, at a bounded pace,
// until the context or waitLimit ends; the last failure is then the error.
func (v *Verifier) Wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	if !idShape.MatchString(transaction) {
		return providers.Outcome{}, ErrTransaction
	}
	limited := ctx
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, waitLimit)
		defer cancel()
	}
	var (
		pace pacer
		last error         // why the newest poll failed
		seen = "none/none" // what the newest poll that did not fail said
	)
	for {
		began := time.Now()
		answer, err := v.api.status(limited, transaction)
		if limited.Err() == nil {
			switch {
			case err == nil && answer.text("result") != "waiting":
				out := judge(answer)
				out.At = v.now()
				return out, nil
			case err == nil:
				last, seen = nil, "waiting/"+word(answer.text("status"))
				pace.waiting(time.Since(began))
			case final(err):
				return providers.Outcome{}, err
			default:
				last = err
				pace.failed(err)
			}
			pace.rest(limited)
		}
		switch {
		case ctx.Err() != nil:
			return providers.Outcome{}, ctx.Err()
		case limited.Err() != nil && last == nil:
			return providers.Outcome{Verdict: providers.TimedOut, At: v.now(), Detail: seen}, nil
		case limited.Err() != nil:
			return providers.Outcome{}, fmt.Errorf("no answer within %v: %w", waitLimit, last)
		}
	}
}

// final says whether polling again is pointless: Duo refuses us, or whoever answers is not Duo.
func final(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && !e.transient()
}

// pacer keeps polls apart.
type pacer struct {
	pause time.Duration // before the next poll
	quick int           // answers in a row that came at once
	fails int           // failures in a row
}

// waiting plans the next poll after one that had no news. A long poll was the pause already.
func (p *pacer) waiting(took time.Duration) {
	p.fails, p.pause = 0, 0
	if took >= quickAnswer {
		p.quick = 0
		return
	}
	p.pause = min(backoff(p.quick), quickPause)
	p.quick++
}

// failed plans the next poll after one that failed.
func (p *pacer) failed(err error) {
	p.pause = backoff(p.fails)
	p.fails++
	if e, ok := errors.AsType[*Error](err); ok {
		p.pause = max(p.pause, min(e.RetryAfter, longestHint))
	}
	p.pause += rand.N(firstPause / 4) //nolint:gosec // spreads polls, hides nothing
}

func backoff(n int) time.Duration {
	return min(firstPause<<min(n, 10), longPause)
}

func (p *pacer) rest(ctx context.Context) {
	if p.pause == 0 {
		return
	}
	t := time.NewTimer(p.pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
