package microsoft365

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"countersign/providers"
	"countersign/providers/microsoft365/strongauth"
)

const (
	pollPause   = time.Second
	longPause   = 8 * time.Second  // longest pause after failures
	longestHint = 30 * time.Second // longest Retry-After that is honoured
	maxRefused  = 3                // tokens in a row that the Connector may refuse
)

// Wait polls until the session is over. Polling changes nothing, so failures are retried, at a bounded pace, until the
// context ends or the session is three minutes old; the last failure is then the error.
func (v *Verifier) Wait(ctx context.Context, transaction string) (providers.Outcome, error) {
	if inner, ok := v.signInTransaction(transaction); ok {
		return v.signIn.Wait(ctx, inner)
	}
	tx, err := v.pushTransaction(transaction)
	if err != nil {
		return providers.Outcome{}, err
	}
	if err := ctx.Err(); err != nil {
		return providers.Outcome{}, err
	}
	if tx.Settled != "" {
		return v.judge(strongauth.Answer{Value: tx.Settled}, tx), nil
	}
	if out, ok := v.over.get(transaction, v.now()); ok {
		return out, nil
	}
	out, err := v.poll(ctx, tx)
	if err == nil && out.Verdict == providers.TimedOut {
		// Another waiter may have had the answer, which the service need not give twice.
		if earlier, ok := v.over.get(transaction, v.now()); ok {
			return earlier, nil
		}
	}
	if err == nil {
		v.over.put(transaction, out, tx.began().Add(2*pushLimit), v.now())
	}
	return out, err
}

func (v *Verifier) poll(ctx context.Context, tx transaction) (providers.Outcome, error) {
	left := min(tx.began().Add(pushLimit).Sub(v.now()), pushLimit)
	limited, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	var (
		pace pacer
		last error         // why the newest poll failed
		seen = "none/none" // what the newest poll that did not fail said
	)
	for limited.Err() == nil {
		a, err := v.connector.end(limited, tx)
		if limited.Err() != nil {
			break
		}
		switch {
		case err == nil && !a.Pending():
			return v.judge(a, tx), nil
		case err == nil:
			last, seen = nil, a.String()
			pace.waiting()
		case pace.final(err):
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
	case last != nil:
		v.log.WarnContext(ctx, "the answer to a push could not be fetched", slog.Any("error", last))
		return providers.Outcome{}, fmt.Errorf("no answer within %v: %w", pushLimit, last)
	default:
		return providers.Outcome{Verdict: providers.TimedOut, ImmutableID: tx.person(), At: v.now(), Detail: seen}, nil
	}
}

// judge says what an answer about a session means for whom it was begun.
func (v *Verifier) judge(a strongauth.Answer, tx transaction) providers.Outcome {
	out := strongauth.Judge(a, tx.Session, tx.UPN)
	out.ImmutableID, out.At = tx.person(), v.now()
	return out
}

// pacer keeps polls apart.
type pacer struct {
	pause   time.Duration
	fails   int
	refused int
}

func (p *pacer) waiting() {
	p.fails, p.refused = 0, 0
	p.pause = pollPause - pollPause/8 + rand.N(pollPause/4) //nolint:gosec // spreads polls, hides nothing
}

func (p *pacer) failed(err error) {
	p.pause = min(pollPause<<min(p.fails, 10), longPause) + rand.N(pollPause/4) //nolint:gosec // as above
	p.fails++
	if e, ok := errors.AsType[*Error](err); ok {
		p.pause = max(p.pause, min(e.RetryAfter, longestHint))
	}
}

// final says whether polling again is pointless: Microsoft refuses us, or whoever answers is not Microsoft.
func (p *pacer) final(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	e, ok := errors.AsType[*Error](err)
	if ok && e.Call == "end" && e.Status == 401 { // a new token may do
		p.refused++
		return p.refused >= maxRefused
	}
	return ok && !e.transient()
}

func (p *pacer) rest(ctx context.Context) {
	t := time.NewTimer(p.pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// book remembers how sessions ended, for a while: the service need not tell twice.
type book struct {
	mu    sync.Mutex
	ended map[string]ending
}

type ending struct {
	outcome providers.Outcome
	until   time.Time
}

func (b *book) get(transaction string, now time.Time) (providers.Outcome, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.ended[transaction]
	if !ok || !now.Before(e.until) {
		return providers.Outcome{}, false
	}
	out := e.outcome
	out.AMR = append([]string(nil), out.AMR...)
	return out, true
}

func (b *book) put(transaction string, out providers.Outcome, until, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		b.ended = map[string]ending{}
	}
	for key, e := range b.ended {
		if !now.Before(e.until) {
			delete(b.ended, key)
		}
	}
	out.AMR = append([]string(nil), out.AMR...)
	b.ended[transaction] = ending{out, until}
}
