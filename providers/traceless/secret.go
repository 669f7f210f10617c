package traceless

import (
	"fmt"
	"log/slog"
)

// Secret is a key that does not print itself.
type Secret string

// Format writes a placeholder whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) } // nothing to do about a failed print

// String returns a placeholder.
func (Secret) String() string { return "[secret]" }

// MarshalText returns a placeholder, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue returns a placeholder, for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }
