package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"countersign/internal/audit"
	"countersign/internal/catalog"
	"countersign/internal/config"
	"countersign/internal/control"
	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/proxy"
	"countersign/proxy/intercept"
	"countersign/proxy/upstream"
	"countersign/rego"
)

// judge is what classifies: catalog, canonicaliser and policy. The sidecar and `countersign check` share it.
type judge struct {
	catalog *catalog.Catalog
	parser  *operation.Parser
	engine  *policy.Engine
	hosts   []string // patterns that are intercepted
}

func newJudge(c config.Config, key []byte, log *slog.Logger, loaded func(string, error)) (judge, error) {
	cat, err := catalog.Load(rego.Catalog())
	if err != nil {
		return judge{}, fmt.Errorf("load catalog: %w", err)
	}
	if cat, err = cat.With(c.Upstream.APIs); err != nil {
		return judge{}, fmt.Errorf("upstream.apis: %w", err)
	}
	parser, err := operation.New(operation.Options{
		Catalog: cat, Key: key, MaxDecoded: int64(c.Limits.Body), OwnClients: ownClients(c),
	})
	if err != nil {
		return judge{}, err
	}
	served, err := bundleOf(c)
	if err != nil {
		return judge{}, err
	}
	engine, err := policy.New(policy.Options{
		Base: rego.Policies(), Paths: c.Policy.Paths, Bundle: served, Logger: log, Loaded: loaded,
		Settings: policySettings(c),
	})
	if err != nil {
		return judge{}, err
	}
	hosts := append(cat.Hosts(), c.Upstream.Intercept...)
	return judge{cat, parser, engine, hosts}, nil
}

// ownClients are the applications by which people are verified: no agent gets tokens of theirs.
func ownClients(c config.Config) (out []string) {
	for _, p := range c.Providers {
		if p.ClientID != "" {
			out = append(out, p.ClientID)
		}
	}
	return out
}

func (s *Sidecar) build(ctx context.Context, o Options) error {
	var err error
	if s.journal, err = audit.Open(audit.Options{Path: s.cfg.Journal.Path, Logger: s.log}); err != nil {
		return err
	}
	s.onClose(func() {
		if err := s.journal.Close(); err != nil {
			s.log.Error("journal not closed", slog.Any("error", err))
		}
	})
	key, err := digestKeyOf(s.cfg)
	if err != nil {
		return err
	}
	j, err := newJudge(s.cfg, key, s.log, s.policyLoaded)
	if err != nil {
		return err
	}
	s.engine = j.engine
	if errs := proxy.CheckPatterns(j.hosts, s.cfg.Upstream.Tunnel); len(errs) > 0 {
		return patternProblems(errs)
	}
	if err := s.buildTrust(j); err != nil {
		return err
	}
	return s.buildDesk(ctx, o, j)
}

func patternProblems(errs []error) error {
	p := &config.Problems{File: "the configuration"}
	for _, err := range errs {
		p.List = append(p.List, config.Problem{Path: "upstream", Text: err.Error()})
	}
	return p
}

// buildTrust makes what says who is who: the interception CA and the requester identifier.
func (s *Sidecar) buildTrust(j judge) error {
	ca, _, err := openCA(s.cfg)
	if err != nil {
		return err
	}
	admission, err := proxy.NewAdmission(j.hosts, s.cfg.Upstream.Tunnel)
	if err != nil {
		return err
	}
	if s.intercept, err = intercept.New(ca, intercept.Options{Admit: admission.Intercepts, Logger: s.log}); err != nil {
		return err
	}
	s.onClose(s.intercept.Close)
	a := s.cfg.Requester.Assertions
	s.identify, err = requester.New(requester.Options{
		Trust: s.cfg.Requester.Trust, Issuer: a.Issuer, Audience: a.Audience, JWKS: a.JWKS, MaxAge: a.MaxAge,
		Logger: s.log, DefaultAgent: "default",
	})
	if err != nil {
		return err
	}
	s.onClose(func() { _ = s.identify.Close() }) // it only reads
	return nil
}

// buildDesk makes what acts: holds, the proxy and the control listener.
func (s *Sidecar) buildDesk(ctx context.Context, o Options, j judge) error {
	var err error
	if s.ledger, err = openLedger(ctx, s.cfg, s.log); err != nil {
		return err
	}
	s.onClose(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ledgerClose)
		defer cancel()
		if err := s.ledger.Close(ctx); err != nil {
			s.log.Error("ledger not closed", slog.Any("error", err))
		}
	})
	metrics := control.NewMetrics(o.Version, func() int { return s.desk.Len() })
	if s.outbox, err = openOutbox(s.cfg, s.log, metrics); err != nil {
		return err
	}
	if s.outbox != nil {
		s.onClose(s.closeOutbox)
	}
	verifiers, err := openVerifiers(s.cfg, o.Providers, ProviderOptions{
		BaseURL: callbackURL(s.cfg, s.Addr("callback")), Shelf: shelf{s.ledger}, Logger: s.log,
	})
	if err != nil {
		return err
	}
	if err := s.openDesk(ctx, verifiers, metrics); err != nil {
		return err
	}
	if err := s.buildProxy(j, metrics); err != nil {
		return err
	}
	if err := s.buildCallback(verifiers); err != nil {
		return err
	}
	return s.buildControl(j, metrics, len(verifiers))
}

// buildControl makes the control API.
func (s *Sidecar) buildControl(j judge, metrics *control.Metrics, verifiers int) error {
	plan, err := s.newPlanner(j)
	if err != nil {
		return err
	}
	s.control, err = control.New(control.Options{
		Token: newRotating(s.cfg.Control.Token, s.log).get, Metrics: metrics, Checks: s.checks(), Warnings: s.warnings(verifiers),
		ExternalURL: s.cfg.Control.ExternalURL, Holds: operatorDesk{s.desk, s.journal}, Identify: s.identify, Plan: plan.plan,
		Outcome: proxy.Outcome, Logger: s.log,
	})
	return err
}

// openDesk makes what holds and asks.
func (s *Sidecar) openDesk(ctx context.Context, verifiers []hold.Named, metrics *control.Metrics) error {
	b := s.cfg.Verification.Budget
	o := hold.Options{
		Ledger: s.ledger, Shared: s.cfg.Ledger.URL != "", Recorder: s.journal, Verifiers: verifiers, Logger: s.log,
		Timeout: s.cfg.Verification.Timeout, Resume: s.cfg.Verification.Resume, MaxHolds: s.cfg.Verification.MaxHolds,
		Budget: hold.Budget{
			Interval: orNone(b.Interval), Per15m: b.Per15m, PerDay: b.PerDay, Denials: b.Denials, CooloffAfterDenial: orNone(b.CooloffAfterDenial),
			PerAgent15m: b.PerAgent15m, PerTenant15m: b.PerTenant15m,
		},
		Observe: func(e hold.Event, r hold.Record) {
			if e.Kind == hold.EventSettled || e.Kind == hold.EventTimedOut || e.Kind == hold.EventWithdrawn || e.Kind == hold.EventFaulted {
				metrics.HoldSettled(r.State.String(), r.Provider)
			}
		},
	}
	s.tellers(&o)
	s.corroboration = newCorroboration(verifiers, s.journal, o.Ledger, s.log)
	s.onClose(s.corroboration.close)
	tell := o.Observe
	o.Observe = func(e hold.Event, r hold.Record) {
		tell(e, r)
		s.corroboration.observe(e, r)
	}
	var err error
	if s.desk, err = hold.NewDesk(o); err != nil {
		return err
	}
	s.onClose(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.desk.Drain(ctx) // a second drain after Run's has nothing to do
	})
	if err := s.desk.Seed(ctx, unfinished(s.journal.Unfinished())); err != nil {
		return fmt.Errorf("remember unfinished redemptions: %w", err)
	}
	return nil
}

// orNone keeps a written 0 from being taken for "the default": the shortest time there is comes to the same.
func orNone(d time.Duration) time.Duration { return max(d, time.Nanosecond) }

// unfinished turns what the journal knows of a crash into what holds must answer about it.
func unfinished(events []audit.Event) []hold.Unfinished {
	out := make([]hold.Unfinished, 0, len(events))
	for _, e := range events {
		out = append(out, hold.Unfinished{HoldKey: e.HoldKey, Hold: hold.ID(e.Hold), At: e.Time})
	}
	return out
}

func (s *Sidecar) buildProxy(j judge, metrics *control.Metrics) error {
	roots, err := extraRoots(s.cfg.Upstream.RootCAs)
	if err != nil {
		return fmt.Errorf("upstream.root_cas: %w", err)
	}
	up, err := upstream.New(upstream.Options{
		Resolve: s.cfg.Upstream.Resolve, RootCAs: roots, AllowPrivate: s.cfg.Upstream.AllowPrivate, Timeout: s.cfg.Upstream.Timeout, Logger: s.log,
	})
	if err != nil {
		return err
	}
	name := make([]byte, 8)
	if _, err := rand.Read(name); err != nil {
		return fmt.Errorf("name this sidecar: %w", err)
	}
	s.onClose(up.Close)
	decider, recorder, err := s.deciding(j)
	if err != nil {
		return err
	}
	if decider, err = s.logDecisions(decider, j.engine, hex.EncodeToString(name)); err != nil {
		return err
	}
	s.proxy, err = proxy.New(proxy.Options{
		Parser: j.parser, Decider: timed{decider, metrics.Decided}, Holder: proxy.Desk(s.desk), Recorder: recorder, Identifier: s.identify,
		Interceptor: s.intercept, Upstream: proxy.Reach(up), Intercept: j.hosts, Tunnel: s.cfg.Upstream.Tunnel,
		MaxBody: int64(s.cfg.Limits.Body), MaxHeader: int(s.cfg.Limits.Header),
		MaxWait: s.cfg.Verification.MaxWait, Resume: s.cfg.Verification.Resume,
		Asserted: s.cfg.Requester.Trust == "asserted", NeedsAttested: j.engine.NeedsAttested,
		Name: hex.EncodeToString(name), Logger: s.log, HoldURL: s.holdURL(),
		APIOf: func(host string) string {
			if api, ok := j.catalog.ByHost(host); ok {
				return api.Name()
			}
			return ""
		},
		Observe: func(e audit.Event) { metrics.Exchange(e.Effect, e.Code, e.Status) },
	})
	return err
}

// deciding returns what decides and what records, with the shadow policy between them if there is one.
func (s *Sidecar) deciding(j judge) (proxy.Decider, proxy.Recorder, error) {
	if len(s.cfg.Policy.Shadow) == 0 {
		return j.engine, s.journal, nil
	}
	candidate, err := newCandidate(s.cfg, s.log)
	if err != nil {
		return nil, nil, err
	}
	s.shadow = newShadow(j.engine, s.journal, candidate, s.log)
	s.onClose(s.shadow.Close)
	return s.shadow, s.shadow, nil
}

// policyLoaded puts every change of policy, and every failure to change it, on record.
func (s *Sidecar) policyLoaded(revision string, err error) {
	e := audit.Event{Kind: audit.Policy, Revision: revision}
	if err != nil {
		e.Code = "policy_not_loaded"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.journal.Record(ctx, e); err != nil {
		s.log.Error("policy change not recorded", slog.Any("error", err))
	}
}

// checks says what readiness depends on. None of them dials.
func (s *Sidecar) checks() []control.Check {
	checks := []control.Check{
		{Name: "journal", Ready: s.journal.Healthy},
		{Name: "policy", Ready: func() error {
			err := s.engine.Ready()
			if err != nil && s.engine.Revision() != "" {
				return &control.Degraded{Err: err}
			}
			return err
		}},
		{Name: "requester", Ready: func() error {
			if err := s.identify.Ready(); err != nil { // calls that policy allows still pass
				return &control.Degraded{Err: err}
			}
			return nil
		}},
	}
	var look lookedAt
	checks = append(checks, control.Check{Name: "ledger", Ready: func() error {
		if err := look.ready(s.ledger); err != nil { // calls that need no hold still pass
			return &control.Degraded{Err: err}
		}
		return nil
	}})
	if s.outbox != nil {
		checks = append(checks, control.Check{Name: "notify", Ready: func() error {
			if failing := s.outbox.Ready(); len(failing) > 0 {
				return &control.Degraded{Err: errors.New(strings.Join(failing, "; "))}
			}
			return nil
		}})
	}
	if s.shadow != nil {
		checks = append(checks, control.Check{Name: "policy.shadow", Ready: func() error {
			if err := s.shadow.ready(); err != nil {
				return &control.Degraded{Err: err}
			}
			return nil
		}})
	}
	return checks
}

// warnings says once what an operator should know of this configuration.
func (s *Sidecar) warnings(verifiers int) (out []string) {
	if verifiers == 0 {
		out = append(out, "no verification provider is configured: every operation that needs a verification is refused")
	}
	if s.cfg.Requester.Assertions.Issuer == "" && s.cfg.Requester.Trust != "asserted" {
		out = append(out, "no source of requester assertions is configured: every operation that needs a verification is refused")
	}
	if s.outbox == nil || !s.outbox.Escalates() {
		out = append(out, "no notification sink takes escalations: no technician is told when a person cannot be verified")
	}
	if s.Addr("callback") != "" && s.callback != nil && s.cfg.Callback.Cert == "" && len(s.cfg.TLS.ACME.Domains) == 0 {
		out = append(out, "the callback listener is plain http on this machine: something in front of it has to end TLS")
	}
	for _, name := range s.cfg.ProviderNames() {
		if p := s.cfg.Providers[name]; strings.HasSuffix(p.Mode, "sign_in") && p.AuthContext == "" {
			out = append(out, "providers."+name+" signs people in without auth_context: Entra's tokens then say nothing of a second factor, and every sign-in is refused")
		}
	}
	if s.cfg.Requester.Trust == "asserted" {
		out = append(out, "requester.trust is asserted: whoever can reach the listeners can name any requester")
	}
	for _, w := range out {
		s.log.Warn("configuration", slog.String("warning", w))
	}
	return out
}

var errNoCertificates = errors.New("holds no PEM certificate")
