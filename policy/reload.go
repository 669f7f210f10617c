package policy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
)

// Reload reads the files again and puts them into force as a whole. On failure the policy of before stays in
// force, and Ready tells what was wrong.
func (e *Engine) Reload(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.loadLocked(ctx, true)
}

// loadLocked loads. Without always, files whose content has been judged before are not judged again.
func (e *Engine) loadLocked(ctx context.Context, always bool) error {
	custom, stamp, err := readPaths(e.paths)
	e.stamp = stamp
	if err != nil {
		e.content = ""
		return e.failedLocked(ctx, err)
	}
	if e.remote != nil {
		served, err := e.remote.state()
		if served == nil { // what the bundle denies must not pass because it is not there
			e.content = ""
			return e.failedLocked(ctx, err)
		}
		custom = slices.Concat(custom, served)
	}
	content := contentOf(custom)
	if content == e.content && !always {
		return e.Ready()
	}
	next, err := compile(ctx, e.base, custom, e.settings)
	if ctx.Err() != nil {
		return fmt.Errorf("load policy: %w", ctx.Err()) // says nothing about the policy
	}
	e.content = content
	if err != nil {
		return e.failedLocked(ctx, err)
	}
	before, failed := e.Revision(), e.failure.Load() != nil
	e.force.Store(next)
	e.failure.Store(nil)
	if before != next.revision || failed {
		e.log.InfoContext(ctx, "policy loaded", slog.String("revision", next.revision), slog.Int("files", len(custom)))
		e.loaded(next.revision, nil)
	}
	return nil
}

// failedLocked records a failure. One that is known already is not told again: a slow look would repeat it for ever.
func (e *Engine) failedLocked(ctx context.Context, err error) error {
	err = fmt.Errorf("load policy: %w", err)
	known := e.failure.Load()
	e.failure.Store(&err)
	if known == nil || (*known).Error() != err.Error() {
		e.log.ErrorContext(ctx, "policy refused", slog.Any("error", err), slog.String("revision", e.Revision()))
		e.loaded(e.Revision(), err)
	}
	return err
}

func contentOf(sources []source) string {
	h := sha256.New()
	for _, s := range sources {
		h.Write(fmt.Appendf(nil, "%d %d %s", len(s.name), len(s.body), s.name))
		h.Write(s.body)
	}
	return string(h.Sum(nil))
}
