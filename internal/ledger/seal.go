package ledger

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"countersign/internal/hold"
)

// ErrUnauthentic is what a Ledger returns for a document that was not written by a holder of the key, or not for this place.
var ErrUnauthentic = hold.ErrUnauthentic

// A sealed value is version, key id, revision of the document it replaced, nonce, ciphertext. Everything before the nonce, the bucket
// and the document's key are authenticated with it, so that a value cannot be moved to another key, bucket or predecessor.
const (
	sealVersion = 1
	keyIDSize   = 4
	headSize    = 1 + keyIDSize + 8
	nonceSize   = chacha20poly1305.NonceSizeX
	sealSize    = headSize + nonceSize + chacha20poly1305.Overhead
)

// box seals with its first key and opens with all.
type box struct {
	bucket string
	keys   []boxKey
}

type boxKey struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
}

func newBox(bucket string, secrets ...Secret) (*box, error) {
	b := &box{bucket: bucket}
	for _, s := range secrets {
		if s == "" {
			continue
		}
		derived, err := hkdf.Key(sha256.New, []byte(s), nil, "countersign ledger document 1", chacha20poly1305.KeySize+keyIDSize)
		if err != nil {
			return nil, fmt.Errorf("derive ledger key: %w", err)
		}
		aead, err := chacha20poly1305.NewX(derived[:chacha20poly1305.KeySize])
		if err != nil {
			return nil, fmt.Errorf("derive ledger key: %w", err)
		}
		b.keys = append(b.keys, boxKey{id: [keyIDSize]byte(derived[chacha20poly1305.KeySize:]), aead: aead})
	}
	if len(b.keys) == 0 {
		return nil, fmt.Errorf("ledger: no key")
	}
	return b, nil
}

// seal wraps a value that goes to key in place of what is at revision prev.
func (b *box) seal(key string, prev uint64, value []byte) []byte {
	k := b.keys[0]
	out := make([]byte, headSize+nonceSize, sealSize+len(value))
	out[0] = sealVersion
	copy(out[1:], k.id[:])
	binary.BigEndian.PutUint64(out[1+keyIDSize:], prev)
	_, _ = rand.Read(out[headSize:]) // never fails: crypto/rand ends the process instead
	return k.aead.Seal(out, out[headSize:], value, b.bound(out[:headSize], key))
}

// open returns the value and the revision it replaced.
func (b *box) open(key string, sealed []byte) (value []byte, prev uint64, err error) {
	if len(sealed) < sealSize || sealed[0] != sealVersion {
		return nil, 0, fmt.Errorf("%w: %s: not sealed", ErrUnauthentic, key)
	}
	head, nonce, text := sealed[:headSize], sealed[headSize:headSize+nonceSize], sealed[headSize+nonceSize:]
	known := false
	for _, k := range b.keys {
		if !bytes.Equal(k.id[:], head[1:1+keyIDSize]) {
			continue
		}
		known = true
		if value, err = k.aead.Open([]byte{}, nonce, text, b.bound(head, key)); err == nil {
			return value, binary.BigEndian.Uint64(head[1+keyIDSize:]), nil
		}
	}
	if !known {
		return nil, 0, fmt.Errorf("%w: %s: sealed with a key that is not configured here", ErrUnauthentic, key)
	}
	return nil, 0, fmt.Errorf("%w: %s: it was changed or moved", ErrUnauthentic, key)
}

// bound is what a value is sealed to. Neither bucket nor key can hold a zero byte.
func (b *box) bound(head []byte, key string) []byte {
	out := make([]byte, 0, len(head)+len(b.bucket)+len(key)+1)
	out = append(out, head...)
	out = append(out, b.bucket...)
	out = append(out, 0)
	return append(out, key...)
}
