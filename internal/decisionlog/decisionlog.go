// Package decisionlog sends decisions to an OPA decision log endpoint, in OPA's own form: gzipped JSON arrays of events, posted
// to <url>/logs. What is sent is put together from a list of fields that are safe to send, so that no failure of a
// mask can leak the others. Sending is apart from deciding: what cannot be sent is dropped, oldest first, and counted.
package decisionlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Defaults of Options, and bounds.
const (
	DefaultResource = "/logs"
	DefaultMinDelay = 5 * time.Second
	DefaultMaxDelay = time.Minute
	DefaultBuffer   = 10 << 20
	DefaultUpload   = 256 << 10

	maxEvent   = 64 << 10         // a larger one is sent without input and result
	firstRetry = time.Second      // doubled with each failure, up to MaxDelay
	flushTime  = 5 * time.Second  // of Close
	maxAnswer  = 64 << 10         // of a response that is read, so that its connection can be used again
	uploadTime = 30 * time.Second // of one upload
)

// Options say where decisions go. URL is required; what else is zero has a default.
type Options struct {
	URL      string // of the service; Resource is added to its path
	Resource string
	Labels   map[string]string      // of every event
	Token    func() (string, error) // bearer token, asked at every upload; nil: none
	Client   *http.Client           // does not follow redirects
	MinDelay time.Duration          // between uploads
	MaxDelay time.Duration
	Buffer   int // bytes of events that wait
	Upload   int // bytes of one upload, before compression
	Logger   *slog.Logger
	Now      func() time.Time
}

// Log keeps events until they are sent. Close ends it.
type Log struct {
	o       Options
	target  string
	wake    chan struct{} // the buffer fills up
	done    chan struct{} // closed by Close: no more events
	stop    context.CancelFunc
	stopped sync.WaitGroup
	closing sync.Once

	mu      sync.Mutex
	waiting [][]byte // events as JSON, oldest first
	size    int      // bytes of them
	dropped uint64
	sent    uint64
	closed  bool
}

// New checks o and starts to send. It dials nothing by itself.
func New(o Options) (*Log, error) {
	if o.Logger == nil {
		return nil, errors.New("decisionlog: no logger")
	}
	if o.Client == nil {
		return nil, errors.New("decisionlog: no client")
	}
	if o.Resource == "" {
		o.Resource = DefaultResource
	}
	if o.MinDelay <= 0 {
		o.MinDelay = DefaultMinDelay
	}
	if o.MaxDelay <= 0 {
		o.MaxDelay = max(DefaultMaxDelay, o.MinDelay)
	}
	if o.MaxDelay < o.MinDelay {
		return nil, errors.New("decisionlog: the longest delay is shorter than the shortest")
	}
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	if o.Upload <= 0 {
		o.Upload = DefaultUpload
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Labels = maps.Clone(o.Labels)
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	target, err := targetOf(o.URL, o.Resource)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Log{o: o, target: target, wake: make(chan struct{}, 1), done: make(chan struct{}), stop: stop}
	l.stopped.Go(func() { l.run(ctx) })
	return l, nil
}

func targetOf(base, resource string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return "", errors.New("decisionlog: the url has to be https://host/path")
	}
	return strings.TrimRight(u.String(), "/") + "/" + strings.TrimLeft(resource, "/"), nil
}

// Dropped counts events that were lost because they could not be sent in time, or that the endpoint would not take.
func (l *Log) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Sent counts events that the endpoint has taken.
func (l *Log) Sent() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// add queues an event, and makes room for it by dropping the oldest. It never waits for the network.
func (l *Log) add(event []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(event) > l.o.Buffer {
		l.dropped++
		return
	}
	l.waiting = append(l.waiting, event)
	l.size += len(event)
	l.trimLocked()
	if l.size > l.o.Buffer/2 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (l *Log) trimLocked() {
	n := 0
	for l.size > l.o.Buffer && n < len(l.waiting) {
		l.size -= len(l.waiting[n])
		l.waiting[n] = nil
		n++
	}
	l.waiting = l.waiting[n:]
	l.dropped += uint64(n)
}

// take removes as many events, oldest first, as fit into one upload. There is at least one, if any waits.
func (l *Log) take() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 2
	for n < len(l.waiting) && (n == 0 || size+len(l.waiting[n])+1 <= l.o.Upload) {
		size += len(l.waiting[n]) + 1
		l.size -= len(l.waiting[n])
		n++
	}
	out := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return out
}

// putBack returns what could not be sent to its place, as far as there is room.
func (l *Log) putBack(events [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(events[:len(events):len(events)], l.waiting...)
	for _, e := range events {
		l.size += len(e)
	}
	l.trimLocked()
}

func (l *Log) count(sent, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent += uint64(sent)       //nolint:gosec // the length of a slice
	l.dropped += uint64(dropped) //nolint:gosec // the length of a slice
}

// run sends until Close, and then once more.
func (l *Log) run(ctx context.Context) {
	var failures int
	var asked time.Duration // by the endpoint
	var told uint64
	for l.sleep(ctx, max(l.pause(failures), min(asked, l.o.MaxDelay)), failures == 0) {
		asked = 0
		err := l.flush(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
		case err != nil:
			if answer, ok := errors.AsType[*statusError](err); ok {
				asked = answer.after
			}
			if failures++; failures == 1 {
				l.o.Logger.Warn("decision log not sent", slog.Any("error", err))
			}
		case failures > 0:
			failures = 0
			l.o.Logger.Info("decision log sent again")
		}
		if n := l.Dropped(); n != told {
			l.o.Logger.Warn("decision log events dropped", slog.Uint64("dropped", n))
			told = n
		}
	}
	if err := l.flush(ctx); err != nil {
		l.o.Logger.Warn("decision log not sent before the stop", slog.Any("error", err))
	}
}

// pause is how long to wait: at random between the bounds, as OPA does, and after failures at random around a time that doubles.
func (l *Log) pause(failures int) time.Duration {
	if failures == 0 {
		return l.o.MinDelay + rand.N(l.o.MaxDelay-l.o.MinDelay+1) //nolint:gosec // spreads load, keeps no secret
	}
	wait := min(max(firstRetry, l.o.MinDelay)<<min(failures-1, 20), l.o.MaxDelay)
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads load, keeps no secret
}

// sleep waits, and returns false when the log is closed.
func (l *Log) sleep(ctx context.Context, d time.Duration, early bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	wake := l.wake
	if !early {
		wake = nil // while the endpoint fails, a full buffer is no reason to ask it more often
	}
	select {
	case <-timer.C:
		return true
	case <-wake:
		return true
	case <-l.done:
		return false
	case <-ctx.Done():
		return false
	}
}

// Close takes no more events, sends what waits within ctx and a few seconds, and returns when nothing is sent any more.
// What is left is dropped.
func (l *Log) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	l.closing.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.done)
	})
	unhook := context.AfterFunc(ctx, l.stop)
	defer unhook()
	l.stopped.Wait()
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.waiting); n > 0 {
		l.dropped += uint64(n)
		l.waiting, l.size = nil, 0
		return fmt.Errorf("decisionlog: %d events were not sent", n)
	}
	return nil
}
