package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrLocked is what Open returns for a folder that another process uses.
var ErrLocked = errors.New("another process has this ledger open")

// ErrDamaged is what Open returns for a folder that it did not make, or whose content is gone or unreadable. It changes nothing there.
var ErrDamaged = errors.New("folder cannot be used as a ledger")

// Files of an embedded ledger. The server's are in a folder of their own: it takes some liberty with what it finds beside them.
const (
	lockFile   = "ledger.lock"
	formatFile = "ledger.json"
	keyFile    = "ledger.key"
	dataFolder = "data"
)

// format is what formatFile says.
type format struct {
	Format int    `json:"format"`
	Bucket string `json:"bucket"`
	Made   bool   `json:"made"` // the bucket was there: from then on its absence is damage
}

const formatNow = 1

// embedded is a NATS server in this process.
type embedded struct {
	server *server.Server
	lock   *os.File
	water  *highWater
}

func openEmbedded(ctx context.Context, o Options) (_ *Ledger, err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger: make folder: %w", err)
	}
	e := &embedded{}
	defer func() {
		if err != nil {
			e.stop()
			err = fmt.Errorf("ledger %s: %w", o.Dir, err)
		}
	}()
	if e.lock, err = takeLock(filepath.Join(o.Dir, lockFile)); err != nil {
		return nil, err
	}
	was, err := readFormat(o)
	if err != nil {
		return nil, err
	}
	own, err := ownKey(o)
	if err != nil {
		return nil, err
	}
	b, err := newBox(o.Bucket, append([]Secret{o.Key, own}, o.OldKeys...)...)
	if err != nil {
		return nil, err
	}
	if e.water, err = openHighWater(filepath.Join(o.Dir, highWaterFile)); err != nil {
		return nil, err
	}
	log := &bridge{log: o.Logger}
	if e.server, err = startServer(ctx, filepath.Join(o.Dir, dataFolder), log); err != nil {
		return nil, err
	}
	nc, err := nats.Connect("", nats.InProcessServer(e.server), nats.Name("countersign"), nats.NoReconnect())
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded server: %w", err)
	}
	l, err := newLedger(o, nc, b, was.Made)
	if err != nil {
		return nil, err
	}
	l.server = e
	if err = l.settle(ctx, was, log); err != nil {
		nc.Close()
		return nil, err
	}
	return l, nil
}

// settle makes the bucket of a new folder, or finds that of an old one.
func (l *Ledger) settle(ctx context.Context, was format, log *bridge) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if _, err := l.bucket.ensure(ctx, l); err != nil {
		if was.Made {
			return damaged("its documents cannot be read", err, log)
		}
		return err
	}
	s, err := l.js.Stream(ctx, l.bucket.stream)
	if err != nil {
		return err
	}
	state, noted := s.CachedInfo().State, l.server.water.last
	if state.LastSeq < noted || state.Lost != nil && len(state.Lost.Msgs) > 0 {
		return damaged(fmt.Sprintf("the disk lost documents that were stored (%d of %d revisions are left)", state.LastSeq, noted), nil, log)
	}
	if was.Made {
		return nil
	}
	was.Made = true
	return writeFormat(filepath.Join(l.o.Dir, formatFile), was)
}

// remedy says what an operator can do about a folder that cannot be used.
const remedy = "see that the disk is whole, mounted and writable by this user; if the folder's data cannot be had back, move the folder away to begin with an empty ledger, which ends pending holds"

// damaged says what is wrong with the folder, as far as the server said it, and what to do.
func damaged(what string, err error, log *bridge) error {
	said := ""
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		said = ": the bucket that was there is gone"
	} else if err != nil {
		said = ": " + err.Error() // not wrapped: a time-out of ours is not the caller's
	}
	if text := log.said(); text != "" {
		said += ": the server said: " + text
	}
	return fmt.Errorf("%w: %s%s; %s", ErrDamaged, what, said, remedy)
}

// stop ends the server, and lets go of the folder after it.
func (e *embedded) stop() {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	if e.water != nil {
		_ = e.water.file.Close() // as good as it is
	}
	if e.lock != nil {
		_ = e.lock.Close() // nothing was written to it
	}
}

func startServer(ctx context.Context, dir string, log *bridge) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "countersign",
		DontListen: true,
		NoSigs:     true,
		NoLog:      true,
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true,

		DisableJetStreamBanner: true,

		JetStreamMaxMemory: 64 << 20, // for the positions of watches
		JetStreamMaxStore:  64 << 30, // a bound for the server's arithmetic; the disk's own is met first
	})
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	s.SetLoggerV2(log, false, false, false)
	s.Start() // returns; without a listener there is nothing to block on
	wait := answerTime
	if until, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(until))
	}
	if !s.ReadyForConnections(max(wait, time.Millisecond)) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, damaged("the embedded server does not start within "+wait.Round(time.Millisecond).String(), nil, log)
	}
	return s, nil
}

func takeLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f, nil
}

// readFormat says what the folder is. It is written before anything else is, so data without it are somebody else's.
func readFormat(o Options) (format, error) {
	file := filepath.Join(o.Dir, formatFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(o.Dir, dataFolder)); err == nil {
			return format{}, fmt.Errorf("%w: %s is there without %s; move it away to begin with an empty ledger", ErrDamaged, dataFolder, formatFile)
		}
		f := format{Format: formatNow, Bucket: o.Bucket}
		return f, writeFormat(file, f)
	}
	if err != nil {
		return format{}, err
	}
	var f format
	if err := json.Unmarshal(b, &f); err != nil {
		return format{}, fmt.Errorf("%w: %s cannot be read: %w; %s", ErrDamaged, formatFile, err, remedy)
	}
	switch {
	case f.Format != formatNow:
		return format{}, fmt.Errorf("%w: it has format %d, and this version knows %d: run the version that made it, or move the folder away to begin with an empty ledger", ErrDamaged, f.Format, formatNow)
	case f.Bucket != o.Bucket:
		return format{}, fmt.Errorf("%w: it was made for bucket %q: set ledger.bucket to that, or ledger.dir to another folder", ErrDamaged, f.Bucket)
	}
	return f, nil
}

func writeFormat(file string, f format) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return writeFile(file, append(b, '\n'))
}

// writeFile puts a file in place whole and on disk, or not at all.
func writeFile(file string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone already when all went well
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ownKey returns the key that an embedded ledger made for itself. Where one is configured, it is only read, for documents from before.
func ownKey(o Options) (Secret, error) {
	file := filepath.Join(o.Dir, keyFile)
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		key := strings.TrimSpace(string(b))
		if len(key) < MinKey {
			return "", fmt.Errorf("%w: %s is too short for a key; %s", ErrDamaged, keyFile, remedy)
		}
		return Secret(key), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	case o.Key != "":
		return "", nil
	}
	key := make([]byte, MinKey)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	text := hex.EncodeToString(key)
	return Secret(text), writeFile(file, []byte(text+"\n"))
}
