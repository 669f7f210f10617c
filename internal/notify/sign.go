package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Secret is a key, a password or an address that is one. It does not print itself.
type Secret string

// Format writes a placeholder whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) } // nothing to do about a failed print

// String returns a placeholder.
func (Secret) String() string { return "[secret]" }

// MarshalText returns a placeholder, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue returns a placeholder, for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// The headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// signingKey decodes a secret of Standard Webhooks, which asks for 24 to 64 bytes.
func signingKey(s Secret) ([]byte, error) {
	encoded, ok := strings.CutPrefix(string(s), "whsec_")
	if !ok {
		return nil, errors.New("must start with whsec_")
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("must be base64 after whsec_") // the error would quote a byte of it
	}
	if len(key) < 24 || len(key) > 64 {
		return nil, fmt.Errorf("must hold 24 to 64 bytes, not %d", len(key))
	}
	return key, nil
}

// sign returns the Webhook-Signature of a body: one signature for each key, so that keys can be changed without a gap.
func sign(keys [][]byte, id string, at time.Time, body []byte) string {
	signatures := make([]string, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}
