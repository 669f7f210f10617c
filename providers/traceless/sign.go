package traceless

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signing says how a message is signed: HMAC-SHA-256 over some of its pieces. An empty field means its default.
type Signing struct {
	Header          string   // carries the signature
	TimestampHeader string   // carries the time that is signed
	Timestamp       string   // unix, unix_ms or rfc3339
	Encoding        string   // of the signature: hex or base64
	Prefix          string   // stands before the signature, such as "sha256="
	Pieces          []string // timestamp, method, path (with the query), body, body_sha256 (hex), in the order signed
	Separator       string   // between pieces; "none" for nothing
}

// signer is a checked Signing with its key.
type signer struct {
	Signing
	key []byte
}

var pieceNames = []string{"timestamp", "method", "path", "body", "body_sha256"}

func newSigner(s, defaults Signing, key []byte) (signer, error) {
	s = s.or(defaults)
	var bad []error
	for _, h := range []string{s.Header, s.TimestampHeader} {
		if err := checkHeader(h); err != nil {
			bad = append(bad, err)
		}
	}
	if strings.EqualFold(s.Header, s.TimestampHeader) {
		bad = append(bad, errors.New("header and timestamp_header are the same"))
	}
	if !slices.Contains([]string{"unix", "unix_ms", "rfc3339"}, s.Timestamp) {
		bad = append(bad, fmt.Errorf("timestamp is %q: want unix, unix_ms or rfc3339", s.Timestamp))
	}
	if s.Encoding != "hex" && s.Encoding != "base64" {
		bad = append(bad, fmt.Errorf("encoding is %q: want hex or base64", s.Encoding))
	}
	if strings.ContainsFunc(s.Prefix, func(r rune) bool { return r < ' ' || r > '~' }) || strings.TrimLeft(s.Prefix, " ") != s.Prefix {
		bad = append(bad, errors.New("prefix: want printable ASCII that does not begin with a space"))
	}
	for i, p := range s.Pieces {
		if !slices.Contains(pieceNames, p) || slices.Contains(s.Pieces[:i], p) {
			bad = append(bad, fmt.Errorf("pieces: %q is not known or there twice: want some of %s", p, strings.Join(pieceNames, ", ")))
		}
	}
	s.Pieces = slices.Clone(s.Pieces)
	return signer{Signing: s, key: key}, errors.Join(bad...)
}

func (s Signing) or(d Signing) Signing {
	for _, f := range []struct {
		have *string
		want string
	}{
		{&s.Header, d.Header}, {&s.TimestampHeader, d.TimestampHeader}, {&s.Timestamp, d.Timestamp},
		{&s.Encoding, d.Encoding}, {&s.Prefix, d.Prefix}, {&s.Separator, d.Separator},
	} {
		if *f.have == "" {
			*f.have = f.want
		}
	}
	if len(s.Pieces) == 0 {
		s.Pieces = d.Pieces
	}
	if s.Separator == "none" {
		s.Separator = ""
	}
	return s
}

// reserved are headers that net/http or this package writes.
var reserved = []string{
	"Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade",
	"Accept", "Accept-Encoding", "User-Agent", "Expect", "Cookie",
}

func checkHeader(name string) error {
	token := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return !token(r) }) {
		return fmt.Errorf("%.40q is not the name of a header", name)
	}
	if slices.Contains(reserved, textproto.CanonicalMIMEHeaderKey(name)) {
		return fmt.Errorf("the header %s is not free", name)
	}
	return nil
}

// message is what can be signed.
type message struct {
	timestamp, method, path string
	body                    []byte
}

func (s signer) mac(m message) []byte {
	h := hmac.New(sha256.New, s.key)
	write := func(b []byte) { _, _ = h.Write(b) } // a hash takes everything
	for i, name := range s.Pieces {
		if i > 0 {
			write([]byte(s.Separator))
		}
		switch name {
		case "timestamp":
			write([]byte(m.timestamp))
		case "method":
			write([]byte(m.method))
		case "path":
			write([]byte(m.path))
		case "body":
			write(m.body)
		case "body_sha256":
			sum := sha256.Sum256(m.body)
			write([]byte(hex.EncodeToString(sum[:])))
		}
	}
	return h.Sum(nil)
}

// sign puts time and signature into the headers of a request.
func (s signer) sign(h http.Header, m message, now time.Time) {
	m.timestamp = s.stamp(now)
	sum := s.mac(m)
	text := hex.EncodeToString(sum)
	if s.Encoding == "base64" {
		text = base64.StdEncoding.EncodeToString(sum)
	}
	h.Set(s.TimestampHeader, m.timestamp)
	h.Set(s.Header, s.Prefix+text)
}

func (s signer) stamp(t time.Time) string {
	switch s.Timestamp {
	case "unix_ms":
		return strconv.FormatInt(t.UnixMilli(), 10)
	case "rfc3339":
		return t.UTC().Format(time.RFC3339)
	default:
		return strconv.FormatInt(t.Unix(), 10)
	}
}

// verify checks a message whose headers carry exactly one time and one signature, and returns both.
func (s signer) verify(h http.Header, m message) (at time.Time, sum []byte, err error) {
	stamps, signatures := h.Values(s.TimestampHeader), h.Values(s.Header)
	if len(stamps) != 1 || len(signatures) != 1 {
		return at, nil, errors.New("want one timestamp and one signature")
	}
	m.timestamp = stamps[0]
	text, ok := strings.CutPrefix(signatures[0], s.Prefix)
	if !ok {
		return at, nil, errors.New("the signature lacks its prefix")
	}
	if s.Encoding == "base64" {
		sum, err = base64.StdEncoding.Strict().DecodeString(text)
	} else {
		sum, err = hex.DecodeString(text)
	}
	if err != nil || !hmac.Equal(sum, s.mac(m)) {
		return at, nil, errors.New("the signature is wrong")
	}
	if at, err = s.parseStamp(m.timestamp); err != nil {
		return at, nil, err
	}
	return at, sum, nil
}

func (s signer) parseStamp(text string) (time.Time, error) {
	if s.Timestamp == "rfc3339" {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return t, errors.New("the timestamp is malformed")
		}
		return t, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<50 {
		return time.Time{}, errors.New("the timestamp is malformed")
	}
	if s.Timestamp == "unix_ms" {
		return time.UnixMilli(n), nil
	}
	return time.Unix(n, 0), nil
}
