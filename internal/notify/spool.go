package notify

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	spoolVersion = 1
	maxRecord    = 64 << 10 // a record is some kilobytes at most
	maxDead      = 1000     // records kept in dead/ for a person to look at
	deadDir      = "dead"
	recordSuffix = ".json"
	tempSuffix   = ".tmp"
	lockName     = "lock"
)

var errFull = errors.New("notify: the spool is full")

// delivery is one event on its way to one sink.
type delivery struct {
	Version  int       `json:"v"`
	Sink     string    `json:"sink"`
	QueuedAt time.Time `json:"queued_at"`
	Event    Event     `json:"event"`

	key       string // of sink and event
	name      string // of the file; "" while there is none
	size      int64
	ephemeral bool // carries a code: only in memory
	attempts  int
	due       time.Time
}

func (d *delivery) escalation() bool { return d.Event.Type == EscalationRequested }

// spool keeps a file for each delivery. The index is guarded by the Outbox's mutex; files are written by one goroutine.
type spool struct {
	dir       string
	log       *slog.Logger
	lock      *os.File
	maxEvents int
	maxBytes  int64

	index map[string]*delivery // by key
	bytes int64
}

func openSpool(dir string, maxEvents int, maxBytes int64, log *slog.Logger) (*spool, error) {
	for _, d := range []string{dir, filepath.Join(dir, deadDir)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("notify: make the spool: %w", err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("notify: lock the spool: %w", err)
	}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("notify: the spool %s is in use by another process: %w", dir, err), f.Close())
	}
	return &spool{dir: dir, log: log, lock: f, maxEvents: maxEvents, maxBytes: maxBytes, index: map[string]*delivery{}}, nil
}

func (s *spool) close() error { return s.lock.Close() }

// load reads what is there, oldest first. What cannot be read is set aside in dead/, so that one torn file stops nothing.
func (s *spool) load() ([]*delivery, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("notify: read the spool: %w", err)
	}
	var found []*delivery
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case strings.HasSuffix(name, tempSuffix): // written halfway when the process ended: nobody was told that it was there
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
				s.log.Warn("notify: cannot remove a half-written file", slog.Any("error", err))
			}
		case strings.HasSuffix(name, recordSuffix) && entry.Type().IsRegular():
			d, err := s.read(name)
			if err != nil {
				s.log.Error("notify: unreadable event set aside", slog.String("file", name), slog.Any("error", err))
				s.setAside(name)
				continue
			}
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, func(a, b *delivery) int { return a.QueuedAt.Compare(b.QueuedAt) })
	return slices.DeleteFunc(found, func(d *delivery) bool {
		if s.index[d.key] != nil { // delivered, not removed, and told again
			s.remove(d)
			return true
		}
		s.index[d.key] = d
		s.bytes += d.size
		return false
	}), nil
}

func (s *spool) read(name string) (*delivery, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return nil, err
	}
	d := &delivery{name: name, size: int64(len(text))}
	if len(text) > maxRecord {
		return nil, errors.New("too long")
	}
	if err := json.Unmarshal(text, d); err != nil {
		return nil, err
	}
	if d.Version != spoolVersion || d.Sink == "" || d.QueuedAt.IsZero() {
		return nil, errors.New("not a record of this version")
	}
	if err := d.Event.complete(); err != nil {
		return nil, err
	}
	d.key = deliveryKey(d.Sink, d.Event.ID)
	return d, nil
}

func deliveryKey(sink, id string) string {
	sum := sha256.Sum256([]byte(sink + "\x00" + id))
	return hex.EncodeToString(sum[:16])
}

// reserveLocked makes room for d and returns what had to go. Ordinary events go first, oldest first. An escalation that was
// acknowledged is never dropped: when nothing else is left, d is refused.
func (s *spool) reserveLocked(d *delivery) ([]*delivery, error) {
	var evicted []*delivery
	for len(s.index) >= s.maxEvents || s.bytes+d.size > s.maxBytes {
		var oldest *delivery
		for _, c := range s.index {
			if !c.escalation() && (oldest == nil || before(c, oldest)) {
				oldest = c
			}
		}
		if oldest == nil {
			return evicted, errFull
		}
		s.forgetLocked(oldest)
		evicted = append(evicted, oldest)
	}
	s.index[d.key] = d
	s.bytes += d.size
	return evicted, nil
}

func before(a, b *delivery) bool {
	return cmp.Or(a.QueuedAt.Compare(b.QueuedAt), strings.Compare(a.key, b.key)) < 0
}

// forgetLocked takes d out of the index and reports whether it was there.
func (s *spool) forgetLocked(d *delivery) bool {
	if s.index[d.key] != d {
		return false
	}
	delete(s.index, d.key)
	s.bytes -= d.size
	return true
}

// write makes d durable: the record and its name are on disk when it returns nil.
func (s *spool) write(d *delivery, text []byte) error {
	kind := "n"
	if d.escalation() {
		kind = "e"
	}
	name := fmt.Sprintf("%020d-%s-%s%s", d.QueuedAt.UnixNano(), kind, d.key, recordSuffix)
	temp := filepath.Join(s.dir, name+tempSuffix)
	if err := writeSynced(temp, text); err != nil {
		return errors.Join(fmt.Errorf("notify: write the spool: %w", err), ignoreMissing(os.Remove(temp)))
	}
	if err := os.Rename(temp, filepath.Join(s.dir, name)); err != nil {
		return errors.Join(fmt.Errorf("notify: write the spool: %w", err), ignoreMissing(os.Remove(temp)))
	}
	d.name = name
	if err := syncDir(s.dir); err != nil {
		return fmt.Errorf("notify: write the spool: %w", err)
	}
	return nil
}

func writeSynced(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// remove deletes the file of a delivery that is done with. If that fails the event is delivered again after a restart.
func (s *spool) remove(d *delivery) {
	if d.name == "" {
		return
	}
	if err := ignoreMissing(os.Remove(filepath.Join(s.dir, d.name))); err != nil {
		s.log.Warn("notify: cannot remove a delivered event", slog.Any("error", err))
	}
}

// setAside moves a file to dead/ for a person to look at, and keeps no more than maxDead there.
func (s *spool) setAside(name string) {
	dead := filepath.Join(s.dir, deadDir)
	if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(dead, name)); err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.log.Warn("notify: cannot set an event aside", slog.Any("error", err))
		}
		return
	}
	entries, err := os.ReadDir(dead) // sorted by name, which begins with the time
	if err != nil {
		s.log.Warn("notify: cannot read the dead events", slog.Any("error", err))
		return
	}
	for _, entry := range entries[:max(0, len(entries)-maxDead)] {
		if err := ignoreMissing(os.Remove(filepath.Join(dead, entry.Name()))); err != nil {
			s.log.Warn("notify: cannot remove an old dead event", slog.Any("error", err))
		}
	}
}
