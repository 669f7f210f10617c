package app

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestTheDigestKeyOutlivesTheProcessAndIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	keys := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = digestKey(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if len(k) != 32 || !bytes.Equal(k, keys[0]) {
			t.Fatalf("keys differ: %x and %x", k, keys[0])
		}
	}
	info, err := os.Stat(filepath.Join(dir, "digest.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("digest.key has mode %v, %v, want 0600", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "digest.key.*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestADigestKeyThatIsNoneIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "digest.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := digestKey(dir); err == nil {
		t.Errorf("digestKey = %x, want an error", key)
	}
}
