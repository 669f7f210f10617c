// Package app wires the sidecar together: configuration in, running listeners out. It decides nothing itself.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"countersign/internal/audit"
	"countersign/internal/callback"
	"countersign/internal/config"
	"countersign/internal/control"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/notify"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/proxy"
	"countersign/proxy/intercept"
)

// Options are what a sidecar is made of.
type Options struct {
	Config  config.Config
	Version string
	Logger  *slog.Logger
	// Providers are kinds of verification provider beside those that every build has, by type.
	Providers map[string]Opener
}

// Sidecar is one running instance: listeners bound by New, served by Run.
type Sidecar struct {
	log       *slog.Logger
	cfg       config.Config
	journal   *audit.Journal
	engine    *policy.Engine
	shadow    *shadow // nil without policy.shadow
	identify  *requester.Identifier
	intercept *intercept.Interceptor
	desk      *hold.Desk
	proxy     *proxy.Server
	control   *control.Server
	callback  *callback.Server // nil without listen.callback
	certify   func(context.Context) error
	ledger    *ledger.Ledger
	outbox    *notify.Outbox // nil without notify

	corroboration *corroboration // nil where no provider can look

	listeners map[string]net.Listener // by configuration name; absent: off
	closers   []func()                // undone in reverse order
}

const (
	stopTime   = 20 * time.Second // how long an orderly stop may take
	recordTime = 10 * time.Second // longest its last record may take
)

// New builds a sidecar and binds its listeners. The CA exists when it returns. Errors about the configuration's
// content are *config.Problems.
func New(ctx context.Context, o Options) (_ *Sidecar, err error) {
	if o.Logger == nil {
		return nil, errors.New("app: no logger")
	}
	s := &Sidecar{log: o.Logger, cfg: o.Config, listeners: map[string]net.Listener{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	// First, because pages and locations are told by the addresses. What connects already waits until Run.
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	if err := s.build(ctx, o); err != nil {
		return nil, err
	}
	return s, nil
}

// onClose registers what undoes a step of New.
func (s *Sidecar) onClose(f func()) { s.closers = append(s.closers, f) }

func (s *Sidecar) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
	s.closers = nil
}

func (s *Sidecar) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for name, addr := range map[string]string{"proxy": s.cfg.Listen.Proxy, "reverse": s.cfg.Listen.Reverse, "control": s.cfg.Listen.Control, "callback": s.cfg.Listen.Callback} {
		if addr == "" {
			continue
		}
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen.%s: %w", name, err)
		}
		s.listeners[name] = l
		s.onClose(func() { _ = l.Close() }) // closed already when it was served
	}
	return nil
}

// Addr returns the address a listener is bound to ("proxy", "reverse", "control", "callback"), "" when it is off.
func (s *Sidecar) Addr(name string) string {
	if l, ok := s.listeners[name]; ok {
		return l.Addr().String()
	}
	return ""
}

// Run serves until ctx ends or a listener fails, then stops in order: waiting callers get 503, pending holds are
// withdrawn, or with a shared ledger left to other replicas, nothing is executed, and the journal is closed. It may be called once.
func (s *Sidecar) Run(ctx context.Context) error {
	defer s.close()
	// A stop that comes at once is still a start and a stop, in order.
	if err := s.journal.Record(context.WithoutCancel(ctx), audit.Event{Kind: audit.Started, Revision: s.engine.Revision()}); err != nil {
		return fmt.Errorf("record start: %w", err)
	}
	served, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Listeners serve apart from ctx, so that an orderly stop and not a cut ends them.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var wg sync.WaitGroup
	serve := func(name string, f func(context.Context, net.Listener) error) {
		l, ok := s.listeners[name]
		if !ok {
			return
		}
		wg.Go(func() {
			if err := f(life, l); err != nil {
				cancel(fmt.Errorf("serve %s: %w", name, err))
			}
		})
		s.log.Info("listening", slog.String("listener", name), slog.String("address", l.Addr().String()))
	}
	serve("proxy", s.proxy.ServeProxy)
	serve("reverse", s.proxy.ServeReverse)
	serve("control", s.control.Serve)
	if s.callback != nil {
		serve("callback", s.callback.Serve)
	}
	if s.certify != nil {
		wg.Go(func() {
			if err := s.certify(life); err != nil && life.Err() == nil {
				s.log.Error("no certificate for the callback listener", slog.Any("error", err))
			}
		})
	}
	wg.Go(func() {
		if err := s.engine.Watch(life); err != nil && life.Err() == nil {
			s.log.Error("policy files are not watched: restart to load changes", slog.Any("error", err))
		}
	})
	if s.shadow != nil {
		wg.Go(func() {
			if err := s.shadow.candidate.Watch(life); err != nil && life.Err() == nil {
				s.log.Error("shadow policy files are not watched", slog.Any("error", err))
			}
		})
	}
	<-served.Done()
	err := s.stop(context.WithoutCancel(ctx))
	end()
	wg.Wait()
	if ctx.Err() == nil { // not asked to stop: a listener failed
		return errors.Join(context.Cause(served), err)
	}
	return err
}

// stop drains holds first, so that their callers get an answer while the listeners still can give one. A call that had to be
// cut off is on record and no failure of the stop.
func (s *Sidecar) stop(ctx context.Context) error {
	s.log.Info("stopping")
	ending, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	err := errors.Join(s.desk.Drain(ending), s.proxy.Shutdown(ending))
	if s.shadow != nil {
		s.shadow.Close() // what it still writes belongs before the record of the stop
	}
	s.corroboration.close()
	// Apart from ending, which may be used up: the last record is not the one to save time on.
	last, cancel := context.WithTimeout(ctx, recordTime)
	defer cancel()
	return errors.Join(err, s.journal.Record(last, audit.Event{Kind: audit.Stopped}))
}
