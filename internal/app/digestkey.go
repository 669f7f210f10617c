package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// digestKey returns the key under which opaque credentials enter digests, made on first use in the ledger's folder. It has to
// outlive the process: a hold key that changed with it would make the retry of a call whose answer was lost in a crash a new
// call, and send it a second time.
func digestKey(dir string) ([]byte, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ledger folder: %w", err)
	}
	file := filepath.Join(dir, "digest.key")
	key, err := readDigestKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make digest key: %w", err)
	}
	tmp, err := os.CreateTemp(dir, "digest.key.*")
	if err != nil {
		return nil, fmt.Errorf("write digest key: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // the link stays
	_, err = tmp.WriteString(hex.EncodeToString(key) + "\n")
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, fmt.Errorf("write digest key: %w", err)
	}
	// A link is made or not, whole: of two processes that start at once, both go on with one key.
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("write digest key: %w", err)
	}
	return readDigestKey(file)
}

func readDigestKey(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read digest key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("read digest key: %s does not hold 32 bytes in hexadecimal; remove it to have a new one made", file)
	}
	return key, nil
}
