package ledger

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
)

// highWater keeps, beside the data of an embedded ledger, the last revision that was acknowledged. A server that finds its files damaged
// after a crash cuts them off there and goes on, and what was replaced later would be true again: an approval that was spent. The
// note is not synced, since only a damaged disk and a crash together make it matter; a power cut may leave it behind, never ahead.
type highWater struct {
	file *os.File

	mu   sync.Mutex
	last uint64
}

const highWaterFile = "ledger.seq"

func openHighWater(name string) (*highWater, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	h := &highWater{file: f}
	var b [8]byte
	if n, _ := f.ReadAt(b[:], 0); n == len(b) { // shorter: new, or never used
		h.last = binary.BigEndian.Uint64(b[:])
	}
	return h, nil
}

// raise notes that seq was acknowledged.
func (h *highWater) raise(seq uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq <= h.last {
		return nil
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], seq)
	if _, err := h.file.WriteAt(b[:], 0); err != nil {
		return fmt.Errorf("note revision: %w", err)
	}
	h.last = seq
	return nil
}
