package policy

import (
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is the SHA-256 of an operation in canonical form. It names exactly what a person approves.
type Digest [32]byte

const digestPrefix = "sha-256:"

// String returns "sha-256:" and the hexadecimal value, as Rego and the journal show it.
func (d Digest) String() string { return digestPrefix + hex.EncodeToString(d[:]) }

// Equal compares in constant time. The zero digest equals nothing, itself included.
func (d Digest) Equal(o Digest) bool {
	return d != Digest{} && subtle.ConstantTimeCompare(d[:], o[:]) == 1
}

// MarshalText writes the form of String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of String and nothing else.
func (d *Digest) UnmarshalText(b []byte) error {
	s, ok := strings.CutPrefix(string(b), digestPrefix)
	raw, err := hex.DecodeString(s)
	if !ok || err != nil || len(raw) != len(d) {
		return fmt.Errorf("policy: malformed digest")
	}
	copy(d[:], raw)
	return nil
}
