package app

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// How far the heap may grow over what lives before it is collected: percent while little lives, and no more than room.
const (
	gcMost  = 400
	gcLeast = 100
	gcRoom  = 64 << 20
)

// TuneGC trades some memory for a fifth of the CPU that a call costs (docs/performance.md): while little lives, garbage is
// collected more seldom. The more lives, the less of it is traded: among thousands of held calls a heap that may grow
// fivefold is mostly gaps between what they keep. It does nothing where the operator set GOGC or GOMEMLIMIT.
func TuneGC() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(gcMost)
	afterGC(gcMost)
}

// afterGC sets the target anew at the end of every collection: whatever is unreachable at its beginning is cleaned up then.
func afterGC(target int) {
	type sentinel struct{ _ [64]byte } // large enough not to share a block with what something else keeps
	runtime.AddCleanup(new(sentinel), func(was int) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		next := gcTarget(live[0].Value.Uint64())
		if next != was {
			debug.SetGCPercent(next)
		}
		afterGC(next)
	}, target)
}

// gcTarget is the target in percent for a heap of which that much lives.
func gcTarget(live uint64) int {
	return int(min(max(gcRoom*100/max(live, 1), gcLeast), gcMost))
}
