package policy

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	quietTime = 200 * time.Millisecond // an editor or a volume writes in several steps
	slowLook  = 15 * time.Second       // beside notifications, which network file systems lose
	fastLook  = 2 * time.Second        // instead of them
)

// Watch reloads when files change or the server has another bundle, until ctx ends, and then returns nil. What it finds wrong is in Ready.
func (e *Engine) Watch(ctx context.Context) error {
	var polling sync.WaitGroup
	if e.remote != nil {
		polling.Go(func() { e.pollBundle(ctx) })
	}
	err := e.watchFiles(ctx)
	polling.Wait()
	return err
}

func (e *Engine) watchFiles(ctx context.Context) error {
	if len(e.paths) == 0 {
		<-ctx.Done()
		return nil
	}
	look := slowLook
	var events chan fsnotify.Event
	var faults chan error
	follow := func() {}
	if e.poll > 0 {
		look = e.poll
	} else if w, err := e.watcher(); err != nil {
		e.log.WarnContext(ctx, "no file notifications, looking for policy changes instead", slog.Any("error", err))
		look = fastLook
	} else {
		defer func() { _ = w.Close() }() // nothing is left to be told
		events, faults = w.Events, w.Errors
		follow = func() { _ = e.follow(w) } // the slow look covers what cannot be watched
	}
	ticks := time.NewTicker(look)
	defer ticks.Stop()
	quiet := time.NewTimer(0) // what changed since New
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			quiet.Reset(quietTime)
		case err := <-faults: // an overflow, most likely: something was missed
			e.log.WarnContext(ctx, "file notifications were lost, reading the policy again", slog.Any("error", err))
			quiet.Reset(quietTime)
		case <-quiet.C:
			e.refresh(ctx)
			follow()
		case <-ticks.C:
			if e.changed() {
				e.refresh(ctx)
				follow()
			}
		}
	}
}

func (e *Engine) refresh(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_ = e.loadLocked(ctx, false) // logged, told to Loaded, and kept for Ready
}

// changed compares names, sizes and times with those of the last load.
func (e *Engine) changed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	stamp, err := stampPaths(e.paths)
	return err != nil || stamp != e.stamp
}

func (e *Engine) watcher() (*fsnotify.Watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := e.follow(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// follow watches the directories that hold the files. A file itself is not watched: what replaces it by a rename
// is another file.
func (e *Engine) follow(w *fsnotify.Watcher) error {
	var wrong []error
	for _, p := range e.paths {
		wrong = append(wrong, w.Add(filepath.Dir(filepath.Clean(p))))
		info, err := os.Stat(p)
		if err != nil || !info.IsDir() {
			continue // gone for the moment, or covered by its directory
		}
		wrong = append(wrong, filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() && name != p {
				return nil // a directory that went away is the next look's business
			}
			return w.Add(name)
		}))
	}
	return errors.Join(wrong...)
}
