package traceless

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"countersign/providers"
)

const (
	longestPause = 15 * time.Second       // after failures
	longestHint  = 30 * time.Second       // longest Retry-After that is honoured
	shortest     = 500 * time.Millisecond // between two polls, whatever calls back
	// mostMissing is how often in a row a transaction may be unknown: a replica may not have heard of it yet.
	mostMissing = 5
)

// Wait polls until the service knows the person's answer. Polling changes nothing, so failures are retried, at a bounded
// pace, until the context ends or five minutes have passed since the start; the last failure is then the error.
func (v *Verifier) Wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	t, err := parseTransaction(transaction)
	if err != nil {
		return providers.Outcome{}, err
	}
	if err := ctx.Err(); err != nil {
		return providers.Outcome{}, err
	}
	left := min(limit, t.started.Add(limit).Sub(v.now())) // min: a clock that was set back gives nobody longer
	if left <= 0 {
		return v.timedOut("limit"), nil
	}
	limited, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	wake, leave := v.waiting.join(t.id, transaction)
	defer leave()

	pace := pacer{interval: v.interval}
	var last error // why the newest poll failed
	seen := "none" // what the newest poll that did not fail said
	for {
		out, settled, err := v.look(limited, t)
		switch {
		case limited.Err() != nil: // whatever came too late does not count
		case err == nil && settled:
			return out, nil
		case err == nil:
			last, seen = nil, out.Detail
			pace.pending()
		case final(err), pace.missing(err) >= mostMissing:
			return providers.Outcome{}, err
		default:
			last = err
			pace.failed(err)
		}
		pace.rest(limited, wake)
		switch {
		case ctx.Err() != nil:
			return providers.Outcome{}, ctx.Err()
		case limited.Err() != nil && last == nil:
			return v.timedOut(seen), nil
		case limited.Err() != nil:
			return providers.Outcome{}, fmt.Errorf("no answer within %v: %w", limit, last)
		}
	}
}

func (v *Verifier) timedOut(detail string) providers.Outcome {
	return providers.Outcome{Verdict: providers.TimedOut, At: v.now(), Detail: detail}
}

// errMissing is a transaction that the service does not know, or not yet.
var errMissing = &Error{Call: "poll", Status: http.StatusNotFound}

// look polls once.
func (v *Verifier) look(ctx context.Context, t transaction) (out providers.Outcome, settled bool, err error) {
	code, doc, err := v.api.call(ctx, "poll", v.poll, values{"organization": v.organization, "transaction": t.id})
	switch {
	case err != nil:
		return out, false, err
	case code == http.StatusOK:
		out, settled, err = v.judge(t, doc)
		if err != nil {
			return providers.Outcome{}, false, fmt.Errorf("traceless: poll: %w", err)
		}
		return out, settled, nil
	case code == http.StatusNotFound:
		return out, false, errMissing
	default:
		return out, false, &Error{Call: "poll", Status: code}
	}
}

// final says whether polling again is pointless: the service refuses us, or whoever answers is not the service.
func final(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	return ok && e != errMissing && !e.transient()
}

// pacer keeps polls apart.
type pacer struct {
	interval time.Duration
	pause    time.Duration // before the next poll
	least    time.Duration // of it, also when a callback comes
	fails    int           // in a row
	missed   int           // in a row, for a transaction that is not known
}

// pending plans the next poll after one that had no news.
func (p *pacer) pending() { p.fails, p.missed, p.pause, p.least = 0, 0, p.interval, shortest }

// missing counts answers in a row that do not know the transaction.
func (p *pacer) missing(err error) int {
	if p.missed++; !errors.Is(err, errMissing) {
		p.missed = 0
	}
	return p.missed
}

// failed plans the next poll after one that failed.
func (p *pacer) failed(err error) {
	p.pause, p.least = max(p.interval, min(p.interval<<min(p.fails, 6), longestPause)), shortest
	p.fails++
	if e, ok := errors.AsType[*Error](err); ok && e.RetryAfter > 0 {
		p.least = min(e.RetryAfter, longestHint)
	}
	p.pause = max(p.pause, p.least) + rand.N(p.interval/4) //nolint:gosec // spreads polls, hides nothing
}

// rest waits for the pause to end, or for a callback.
func (p *pacer) rest(ctx context.Context, wake <-chan struct{}) {
	if !sleep(ctx, p.least, nil) {
		return
	}
	sleep(ctx, p.pause-p.least, wake)
}

// sleep says whether it was not the context that ended it.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
