package policy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultDeadline is how long one decision may take. A decision takes microseconds, or some hundred milliseconds
// when a rule reads a body of ten megabytes.
const DefaultDeadline = time.Second

// Options make an Engine.
type Options struct {
	Base     fs.FS                            // the built-in policy; required
	Paths    []string                         // customers' files and directories: .rego, and .json, .yaml, .yml data
	Bundle   *Bundle                          // from a bundle server, beside Paths; nil: none
	Settings map[string]any                   // what Rego sees as data.countersign.settings: unlisted_writes, trust
	Deadline time.Duration                    // of one decision; 0: DefaultDeadline
	Poll     time.Duration                    // look for changes at this interval only; 0: file notifications, and a slow look besides
	Logger   *slog.Logger                     // required
	Now      func() time.Time                 // nil: time.Now
	Loaded   func(revision string, err error) // told of every change of revision and of every new failure; must not call Reload
}

// Engine decides with the policy that is in force. It is safe for concurrent use.
type Engine struct {
	base     []source
	paths    []string
	settings map[string]any
	deadline time.Duration
	poll     time.Duration
	log      *slog.Logger
	now      func() time.Time
	loaded   func(string, error)
	remote   *remote // nil without a bundle

	force   atomic.Pointer[ruleset] // nil: none
	failure atomic.Pointer[error]   // of the last load; nil: it was good

	mu      sync.Mutex // one load at a time; guards what follows
	stamp   string     // of the files at the last load
	content string     // their hash at the last load that could read them
}

// New makes an engine and loads the policy. Missing options and a broken built-in policy are errors. A broken
// customer policy is not, nor a bundle server that does not answer: the engine then has no policy in force, refuses, and says so in Ready.
func New(o Options) (*Engine, error) {
	if o.Base == nil {
		return nil, errors.New("policy: no built-in policy")
	}
	if o.Logger == nil {
		return nil, errors.New("policy: no logger")
	}
	if o.Deadline < 0 || o.Poll < 0 {
		return nil, errors.New("policy: negative duration")
	}
	settings, err := checkSettings(o.Settings)
	if err != nil {
		return nil, fmt.Errorf("policy: settings: %w", err)
	}
	base, err := readBase(o.Base)
	if err != nil {
		return nil, fmt.Errorf("policy: built-in policy: %w", err)
	}
	e := &Engine{
		base: base, paths: slices.Clone(o.Paths), settings: settings,
		deadline: o.Deadline, poll: o.Poll, log: o.Logger, now: o.Now, loaded: o.Loaded,
	}
	if e.deadline == 0 {
		e.deadline = DefaultDeadline
	}
	if e.now == nil {
		e.now = time.Now
	}
	if e.loaded == nil {
		e.loaded = func(string, error) {}
	}
	if o.Bundle != nil {
		if e.remote, err = newRemote(o.Bundle, e.log); err != nil {
			return nil, err
		}
		e.firstLook()
	}
	ctx := context.Background() // nothing of a load waits for anybody
	if e.Reload(ctx) != nil {   // kept for Ready, logged, and told to Loaded
		if _, err := compile(ctx, base, nil, settings); err != nil {
			return nil, fmt.Errorf("policy: built-in policy: %w", err)
		}
	}
	return e, nil
}

// Decide asks the policy in force about one operation. It fills in Context. On error the decision is the zero
// one, which denies, and the error wraps ErrUnavailable (no policy, late, or a fault), ErrUndefined (no answer)
// or ErrMalformed (an answer that breaks the contract).
func (e *Engine) Decide(ctx context.Context, in Input) (Decision, error) {
	rules, err := e.rules()
	if err != nil {
		return Decision{}, err
	}
	return rules.decide(ctx, in, e.now(), e.deadline)
}

// DecideAll asks about every part of a batch, all under one revision. The first error ends it.
func (e *Engine) DecideAll(ctx context.Context, ins []Input) ([]Decision, error) {
	rules, err := e.rules()
	if err != nil {
		return nil, err
	}
	now := e.now()
	ds := make([]Decision, 0, len(ins))
	for i, in := range ins {
		d, err := rules.decide(ctx, in, now, e.deadline)
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", i, err)
		}
		ds = append(ds, d)
	}
	return ds, nil
}

// Ready returns nil when the last load was good, and what was wrong with it otherwise. An older policy may be in
// force all the same: then Revision is not empty.
func (e *Engine) Ready() error {
	if err := e.failure.Load(); err != nil {
		return *err
	}
	if e.remote != nil {
		if _, err := e.remote.state(); err != nil {
			return fmt.Errorf("load policy: %w", err)
		}
	}
	return nil
}

// Revision names the policy in force: a hash over modules, data and settings. "" means that none is.
func (e *Engine) Revision() string {
	if r := e.force.Load(); r != nil {
		return r.revision
	}
	return ""
}

// NeedsAttested reports whether an operation of this category needs an attested requester even where plain
// headers are trusted. The data document countersign.config.asserted_suffices may list categories that do not.
func (e *Engine) NeedsAttested(category string) bool {
	r := e.force.Load()
	return NeedsAttested(category) && (r == nil || !r.asserted[category])
}

// NeedsAttested is the built-in answer to Engine.NeedsAttested: what must not rest on a plain header.
func NeedsAttested(category string) bool {
	switch category {
	case "credential_reset", "account_creation", "read", "ordinary_write":
		return false
	default: // admin_privilege, permission_grant, security_config, and whatever we do not know
		return true
	}
}

func (e *Engine) rules() (*ruleset, error) {
	if r := e.force.Load(); r != nil {
		return r, nil
	}
	if err := e.Ready(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil, ErrUnavailable
}

// checkSettings copies the settings and refuses values that would never match a rule.
func checkSettings(given map[string]any) (map[string]any, error) {
	s := maps.Clone(given)
	if s == nil {
		s = map[string]any{}
	}
	for key, words := range map[string][]string{
		"unlisted_writes": {"step_up", "deny", "allow"},
		"trust":           {"attested", "asserted"},
	} {
		v, ok := s[key]
		if !ok {
			s[key] = words[0]
			continue
		}
		if word, isString := v.(string); !isString || !slices.Contains(words, word) {
			return nil, fmt.Errorf("%s: want one of %v", key, words)
		}
	}
	return s, nil
}
