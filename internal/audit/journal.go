package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

var (
	// ErrClosed is the answer of a journal after Close.
	ErrClosed = errors.New("audit: journal closed")
	// ErrUnavailable marks that an event could not be put on disk: the disk is full, failing or too slow.
	ErrUnavailable = errors.New("audit: journal unavailable")
	// ErrEvent marks an event that cannot be a record: no kind, too long, or not JSON.
	ErrEvent = errors.New("audit: bad event")
)

const (
	syncEvery   = 250 * time.Millisecond // an appended event is on disk this much later, and a sync takes its time
	retryEvery  = time.Second            // between attempts to bring a broken journal back when nobody asks
	patience    = 10 * time.Second       // a disk that takes longer than this has failed
	maxUnsynced = 4 << 20                // beyond this, Append waits for the disk like Record
)

// Options is what Open needs. Only Path is required.
type Options struct {
	Path   string
	Now    func() time.Time                // time.Now
	Logger *slog.Logger                    // tells of a journal that breaks, heals or rotates; nil: nobody
	Open   func(path string) (File, error) // OpenFile; a test fills the disk here
}

// Journal is the audit record. It is safe for concurrent use, and one process at a time has it open.
//
// A write or sync that fails breaks it: that event and every later one fails, until everything not known to be on disk
// was cut off, written again as far as it had been accepted, and synced. It tries that on the next event and every
// second. A file that an operator moves away is followed by a new one which continues the chain.
type Journal struct {
	path string
	now  func() time.Time
	log  *slog.Logger
	open func(string) (File, error)

	chain      string
	unfinished []Event
	kick       chan struct{} // wakes run
	quit       chan struct{}
	stopped    sync.WaitGroup

	mu       sync.Mutex
	file     File // written under mu; while broken, and to sync, run alone has it
	tip      mark // the last line written
	safe     mark // the last line known to be on disk
	pending  []entry
	waiters  []chan<- error
	broken   error
	closed   bool
	armed    bool      // a kick is on its way
	syncing  time.Time // since when run waits for the disk; zero when it does not
	buf      []byte
	closeErr error
}

// mark is the end of a line in the current file.
type mark struct {
	link
	size int64 // bytes up to and with the line
	last int   // length of the line with its newline
}

// entry is a record that is written and not known to be on disk.
type entry struct {
	body    []byte
	at      mark
	durable bool // its caller waits, and is told the truth if it fails: nobody needs it then
}

// Open opens the journal at o.Path, or begins it. A record that a crash left half-written is cut off and that is
// recorded; anything else that is wrong with the end of the file is an error that matches ErrBroken.
func Open(o Options) (*Journal, error) {
	if o.Path == "" {
		return nil, errors.New("audit: no path")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Open == nil {
		o.Open = OpenFile
	}
	j := &Journal{path: o.Path, now: o.Now, log: o.Logger, open: o.Open, kick: make(chan struct{}, 1), quit: make(chan struct{})}
	f, err := j.open(j.path)
	if err != nil {
		return nil, err
	}
	if err := j.load(f); err != nil {
		return nil, errors.Join(fmt.Errorf("load journal %s: %w", j.path, err), f.Close())
	}
	j.stopped.Go(j.run)
	return j, nil
}

// Record writes e and returns nil only when it is on disk. After an error it is not known whether e is there.
func (j *Journal) Record(ctx context.Context, e Event) error { return j.add(ctx, e, true) }

// Append writes e to the file, and it is on disk within a second. When the disk lags far behind it waits like Record.
func (j *Journal) Append(ctx context.Context, e Event) error { return j.add(ctx, e, false) }

// Unfinished returns the Redeemed events of the last quarter of an hour, as of Open, whose exchange was never Completed:
// the process ended in between, so nobody knows what the upstream did.
func (j *Journal) Unfinished() []Event { return append([]Event(nil), j.unfinished...) }

// Healthy returns nil when the next Record can be expected to succeed.
func (j *Journal) Healthy() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return ErrClosed
	case j.broken != nil && !errors.Is(j.broken, errMoved):
		return unavailable(j.broken)
	case !j.syncing.IsZero() && j.now().Sub(j.syncing) > patience:
		return unavailable(errSlow)
	default:
		return nil
	}
}

// Close syncs what was written and closes the file. Events after it fail.
func (j *Journal) Close() error {
	j.mu.Lock()
	first := !j.closed
	j.closed = true
	j.mu.Unlock()
	if first {
		close(j.quit)
	}
	j.stopped.Wait()
	return j.closeErr
}

// encode makes the JSON of an event, its place in the chain left out.
func (j *Journal) encode(e Event) ([]byte, error) {
	if e.Kind == "" {
		return nil, fmt.Errorf("%w: no kind", ErrEvent)
	}
	if e.Time.IsZero() {
		e.Time = j.now()
	}
	e.Time = e.Time.UTC()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(body)+tailLen+sumLen+64 > maxLine {
		return nil, fmt.Errorf("%w: a record of %d bytes is too long", ErrEvent, len(body))
	}
	return body, nil
}

func newChain() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(id[:])
}

func unavailable(cause error) error { return fmt.Errorf("%w: %w", ErrUnavailable, cause) }
