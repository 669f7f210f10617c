package audit

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	errSlow    = errors.New("the disk does not answer")
	errMoved   = errors.New("the file was moved away")
	errGone    = errors.New("the file was deleted")
	errAltered = errors.New("the file was changed by somebody else")
)

// add writes one event. What run has broken, it first lets run mend.
func (j *Journal) add(ctx context.Context, e Event, durable bool) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	body, err := j.encode(e)
	if err != nil {
		return err
	}
	for {
		wait, written, err := j.write(body, durable)
		if err != nil {
			return err
		}
		if wait != nil {
			if err := await(ctx, wait); err != nil {
				return err
			}
		}
		if written {
			return nil
		}
	}
}

// write puts one record at the end of the file, or says what to wait for first.
func (j *Journal) write(body []byte, durable bool) (wait <-chan error, written bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, false, ErrClosed
	}
	if j.broken != nil {
		return j.waitLocked(), false, nil
	}
	next := j.sealLocked(j.tip, body)
	if n, err := j.file.Write(j.buf); err != nil {
		j.breakLocked(fmt.Errorf("write: %w", err))
		return nil, false, unavailable(j.broken)
	} else if n != len(j.buf) {
		j.breakLocked(errors.New("write: short write"))
		return nil, false, unavailable(j.broken)
	}
	j.tip = next
	j.pending = append(j.pending, entry{body: body, at: next, durable: durable})
	if durable || j.tip.size-j.safe.size > maxUnsynced {
		return j.waitLocked(), true, nil
	}
	j.wakeLocked(syncEvery)
	return nil, true, nil
}

// sealLocked puts the line of body after from into j.buf.
func (j *Journal) sealLocked(from mark, body []byte) mark {
	line, l := from.seal(j.buf[:0], body)
	j.buf = line
	return mark{link: l, size: from.size + int64(len(line)), last: len(line)}
}

// waitLocked asks run for its next result.
func (j *Journal) waitLocked() <-chan error {
	c := make(chan error, 1)
	j.waiters = append(j.waiters, c)
	j.wake()
	return c
}

// wakeLocked wakes run after d, once.
func (j *Journal) wakeLocked(d time.Duration) {
	if !j.armed {
		j.armed = true
		time.AfterFunc(d, j.wake)
	}
}

func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default: // run is awake already
	}
}

func (j *Journal) breakLocked(cause error) {
	if j.broken == nil && !errors.Is(cause, errMoved) {
		j.log.Error("journal broken", "error", cause)
	}
	j.broken = cause
	j.wake()
}

func await(ctx context.Context, c <-chan error) error {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return unavailable(ctx.Err())
	case <-t.C:
		return unavailable(errSlow)
	}
}

// run syncs what callers have written, all of it at once, and mends what is broken. It ends with Close.
func (j *Journal) run() {
	for {
		select {
		case <-j.kick:
			j.settle()
		case <-j.quit:
			j.finish()
			return
		}
	}
}

// settle does what is due: a sync, or a repair.
func (j *Journal) settle() {
	j.mu.Lock()
	j.armed = false
	broken := j.broken
	j.mu.Unlock()
	if broken != nil {
		j.repair()
		return
	}
	j.flush()
}

// flush syncs the file once for everybody who waits.
func (j *Journal) flush() {
	j.mu.Lock()
	f, target, n, waiters := j.file, j.tip, len(j.pending), j.waiters
	if n == 0 {
		j.waiters = nil
		j.mu.Unlock()
		answer(waiters, nil)
		return
	}
	j.waiters = nil
	j.syncing = j.now()
	j.mu.Unlock()

	err := f.Sync()
	what := inspect(f, j.path, target.size)

	j.mu.Lock()
	defer j.mu.Unlock()
	j.syncing = time.Time{}
	switch {
	case err != nil:
		// After a failed sync the kernel may drop pages and call the next sync a success, so nothing that was not
		// synced before is trusted any more.
		j.breakLocked(fmt.Errorf("sync: %w", err))
		j.waiters = append(waiters, j.waiters...)
		j.failLocked(unavailable(j.broken))
		return
	case what == gone || what == altered:
		// Synced, but where nobody will find it: the repair writes it again elsewhere, then these callers are told.
		j.breakLocked(map[fate]error{gone: errGone, altered: errAltered}[what])
		j.waiters = append(waiters, j.waiters...)
		return
	case what == moved:
		j.breakLocked(errMoved)
	}
	j.safe = target
	j.pending = append(j.pending[:0:0], j.pending[n:]...)
	answer(waiters, nil)
}

// failLocked tells everybody who waits that it went wrong, and forgets their records. What Append accepted stays.
func (j *Journal) failLocked(err error) {
	kept := j.pending[:0:0]
	for _, e := range j.pending {
		if !e.durable {
			kept = append(kept, e)
		}
	}
	j.pending = kept
	answer(j.waiters, err)
	j.waiters = nil
}

func answer(waiters []chan<- error, err error) {
	for _, w := range waiters {
		w <- err // buffered for one, and answered once
	}
}

// finish is the last sync, and closes the file.
func (j *Journal) finish() {
	j.settle()
	j.settle() // mends what the first one found
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil && !errors.Is(j.broken, errMoved) {
		j.closeErr = unavailable(j.broken)
	}
	j.failLocked(ErrClosed)
	if err := j.file.Close(); err != nil {
		j.closeErr = errors.Join(j.closeErr, fmt.Errorf("close journal: %w", err))
	}
}
