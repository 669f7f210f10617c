package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrLocked says that another process writes this journal. Two of them would tear the chain.
var ErrLocked = errors.New("audit: journal is in use by another process")

// File is what the journal needs of an open file; *os.File is one. Writes go to its end.
type File interface {
	io.ReaderAt
	io.Writer
	io.Closer
	Stat() (os.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

var _ File = (*os.File)(nil)

// OpenFile opens or makes the file at path for one writer: directory 0700, file 0600 where they are new, locked until it
// is closed. When it returns, the file's name is on disk too.
func OpenFile(path string) (File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make journal directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := claim(f, path, dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func claim(f *os.File, path, dir string) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("open journal %s: not a regular file", path)
	}
	if err := lock(f); err != nil {
		return fmt.Errorf("lock journal %s: %w", path, err)
	}
	// Between opening and locking, another process may have moved the file away and begun a new one.
	if at, err := os.Stat(path); err != nil || !os.SameFile(at, info) {
		return fmt.Errorf("open journal %s: %w", path, ErrLocked)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open journal directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync journal directory: %w", err)
	}
	return nil
}

// fate is what has become of the file under the journal's feet.
type fate uint8

const (
	gone    fate = iota // it has no name any more, or cannot be asked: what is in it is lost
	kept                // it is where it was, and as long as it was written
	moved               // it has another name: an operator rotates
	altered             // it is shorter than what was written, or its end is not ours
)

// inspect asks what became of f, to which size bytes were written.
func inspect(f File, path string, size int64) fate {
	info, err := f.Stat()
	if err != nil {
		return gone
	}
	at, err := os.Stat(path)
	here := err == nil && os.SameFile(at, info)
	switch {
	case !here && !linked(info):
		return gone
	case info.Size() < size:
		return altered
	case !here:
		return moved
	default:
		return kept
	}
}

// endsAt reports whether f still has m's line right before m.size.
func endsAt(f File, m mark) bool {
	b := make([]byte, m.last)
	if _, err := f.ReadAt(b, m.size-int64(m.last)); err != nil || len(b) == 0 {
		return false
	}
	at, _, err := unseal(b[:len(b)-1])
	return err == nil && at == m.link && b[len(b)-1] == '\n'
}
