package audit

import (
	"errors"
	"fmt"
	"os"
	"strconv"
)

// repair brings a broken journal back: everything after the last synced record is cut off, and what callers still wait
// for or were promised is written again, behind a record that says so. While the journal is broken nobody else touches
// the file or the chain.
func (j *Journal) repair() {
	j.mu.Lock()
	cause, pending := j.broken, j.pending
	j.mu.Unlock()

	next, err := j.rebuild(cause, pending)

	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.breakLocked(err)
		j.failLocked(unavailable(err))
		j.drain()
		j.wakeLocked(retryEvery)
		return
	}
	if errors.Is(cause, errMoved) {
		j.log.Info("journal rotated", "path", j.path, "seq", next.tip.seq)
	} else {
		j.log.Warn("journal recovered", "after", cause, "seq", next.tip.seq)
	}
	j.file, j.tip, j.safe = next.file, next.tip, next.tip
	j.pending, j.broken = nil, nil
	answer(j.waiters, nil)
	j.waiters = nil
}

// drain takes back a kick that breakLocked has just sent: the next attempt waits for an event or for retryEvery.
func (j *Journal) drain() {
	select {
	case <-j.kick:
	default:
	}
}

// rebuilt is what repair goes on with.
type rebuilt struct {
	file File
	tip  mark
}

// rebuild makes a synced file that ends with the pending records: the same file, or a new one that continues the chain.
func (j *Journal) rebuild(cause error, pending []entry) (rebuilt, error) {
	what := inspect(j.file, j.path, j.safe.size)
	if what == kept && !endsAt(j.file, j.safe) {
		what = altered
	}
	switch what {
	case kept:
		info, err := j.file.Stat()
		if err != nil {
			return rebuilt{}, fmt.Errorf("repair: %w", err)
		}
		lost := info.Size() - j.safe.size
		if err := j.file.Truncate(j.safe.size); err != nil {
			return rebuilt{}, fmt.Errorf("repair: %w", err)
		}
		first := Event{Kind: Recovered, Detail: detail(cause), Bytes: lost}
		tip, err := j.rewrite(j.file, j.safe, first, pending)
		return rebuilt{j.file, tip}, err
	case moved:
		// Its pending records go to the next file, and must not be in both.
		if err := errors.Join(j.file.Truncate(j.safe.size), j.file.Sync()); err != nil {
			return rebuilt{}, fmt.Errorf("repair: %w", err)
		}
		return j.succeed(errMoved, pending)
	case altered:
		if err := j.setAside(); err != nil {
			return rebuilt{}, fmt.Errorf("repair: set the changed file aside: %w", err)
		}
		return j.succeed(errAltered, pending)
	case gone:
		return j.succeed(errGone, pending)
	default:
		return rebuilt{}, fmt.Errorf("repair: file is in state %d", what)
	}
}

// setAside renames the current file, if it is still where the journal has its own: it is evidence.
func (j *Journal) setAside() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	at, err := os.Stat(j.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(info, at) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Rename(j.path, j.path+".altered-"+strconv.FormatUint(j.safe.seq, 10))
}

// succeed begins a new file that continues the chain, and lets go of the old one.
func (j *Journal) succeed(why error, pending []entry) (rebuilt, error) {
	f, err := j.open(j.path)
	if err != nil {
		return rebuilt{}, fmt.Errorf("repair: %w", err)
	}
	tip, err := j.begin(f, why, pending)
	if err != nil {
		return rebuilt{}, errors.Join(fmt.Errorf("repair: %w", err), f.Close())
	}
	_ = j.file.Close() // everything that counts was synced there, or is in the new file
	return rebuilt{f, tip}, nil
}

func (j *Journal) begin(f File, why error, pending []entry) (mark, error) {
	info, err := f.Stat()
	if err != nil {
		return mark{}, err
	}
	if info.Size() != 0 {
		return mark{}, errors.New("another file has taken the journal's place")
	}
	return j.rewrite(f, mark{link: j.safe.link}, Event{Kind: Opened, Chain: j.chain, Detail: detail(why)}, pending)
}

// rewrite puts first and the pending records after from, and syncs. What a failure leaves behind is cut off again.
func (j *Journal) rewrite(f File, from mark, first Event, pending []entry) (mark, error) {
	body, err := j.encode(first)
	if err != nil {
		return mark{}, err
	}
	tip := from
	var out []byte
	for _, b := range append([]entry{{body: body}}, pending...) {
		start := len(out)
		var l link
		out, l = tip.seal(out, b.body)
		tip = mark{link: l, size: tip.size + int64(len(out)-start), last: len(out) - start}
	}
	n, err := f.Write(out)
	if err == nil && n != len(out) {
		err = errors.New("short write")
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Truncate(from.size) // best effort: the next attempt does it again, and a reader sees a torn end until then
		return mark{}, fmt.Errorf("write again: %w", err)
	}
	return tip, nil
}

// detail turns a cause into one of a few constants, so that no path or device name gets into the journal.
func detail(cause error) string {
	for _, known := range []error{errMoved, errGone, errAltered, errCrash} {
		if errors.Is(cause, known) {
			return known.Error()
		}
	}
	return "a write or sync failed"
}
