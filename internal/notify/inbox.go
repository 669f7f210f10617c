package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

const (
	inboxName = "inbox.log"
	inboxMost = 8 << 20 // bytes; what comes while it is full is in memory only, until the spool has it
)

// inbox has a line of JSON for each event that was taken and may not be in the spool yet. It is written before Notify
// returns and not synced, as nothing may wait for the disk: the death of the process loses no event, that of the machine may
// lose the last ones. It is emptied whenever the spool has caught up. Safe for concurrent use.
type inbox struct {
	mu      sync.Mutex
	file    *os.File
	size    int64
	waiting int
}

// openInbox returns the events that an earlier process took and may not have put in the spool.
func openInbox(dir string) (*inbox, []Event, error) {
	f, err := os.OpenFile(filepath.Join(dir, inboxName), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("notify: open the inbox: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, inboxMost+maxRecord))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("notify: read the inbox: %w", err), f.Close())
	}
	var found []Event
	for line := range bytes.Lines(text) {
		var e Event
		if json.Unmarshal(line, &e) == nil && e.complete() == nil { // a torn line is the last one, of a call that never returned
			found = append(found, e)
		}
	}
	return &inbox{file: f, size: int64(len(text))}, found, nil
}

// add writes an event down. Each add is followed by one done.
func (i *inbox) add(e Event) error {
	text, err := encode(e)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting++
	if err != nil {
		return err
	}
	if i.size+int64(len(text))+1 > inboxMost {
		return errFull
	}
	if _, err := i.file.Write(append(text, '\n')); err != nil { // half a line would spoil the next one
		return errors.Join(fmt.Errorf("notify: write the inbox: %w", err), i.file.Truncate(i.size))
	}
	i.size += int64(len(text)) + 1
	return nil
}

// done says that an event is in the spool, or dropped.
func (i *inbox) done() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.waiting--
	return i.emptyLocked()
}

// empty forgets what openInbox found.
func (i *inbox) empty() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.emptyLocked()
}

func (i *inbox) emptyLocked() error {
	if i.waiting > 0 || i.size == 0 {
		return nil
	}
	if err := i.file.Truncate(0); err != nil {
		return fmt.Errorf("notify: empty the inbox: %w", err)
	}
	i.size = 0
	return nil
}

func (i *inbox) close() error { return i.file.Close() }
