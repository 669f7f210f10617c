package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Secret is a string that will not print itself. Reveal is the only way to it.
type Secret struct{ value, file string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return s.value }

// File is the file that the secret was read from, "" for one that was not: it can be read anew when it is rotated.
func (s Secret) File() string { return s.file }

// Set reports whether there is a secret.
func (s Secret) Set() bool { return s.value != "" }

const masked = "[secret]"

// String returns a fixed text.
func (Secret) String() string { return masked }

// GoString returns a fixed text.
func (Secret) GoString() string { return masked }

// MarshalText returns a fixed text.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// Size is a number of bytes, written 512, 64KiB, 10MiB or 1GiB.
type Size int64

func parseSize(s string) (Size, error) {
	digits, unit := s, int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = strings.TrimSpace(rest), u
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("must be a size such as 10MiB, not %q", s)
	}
	return Size(n * unit), nil
}
