package operation

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxLoose bounds what is read of a body for a guess.
const maxLoose = 1 << 20

// plainText is the text of a body in whatever coding and charset it is, and something that says nothing where it cannot
// be told. It is empty only for an empty body.
func (p *Parser) plainText(r Request) string {
	raw := r.Body
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		if z, err := gzip.NewReader(bytes.NewReader(raw)); err == nil { // several members are read as one
			if octets, err := io.ReadAll(io.LimitReader(z, maxLoose)); err == nil {
				raw = octets
			}
		}
	}
	raw = raw[:min(len(raw), maxLoose)]
	switch {
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}), len(raw) > 1 && raw[0] != 0 && raw[1] == 0:
		raw = fromUTF16(bytes.TrimPrefix(raw, []byte{0xff, 0xfe}), binary.LittleEndian)
	case bytes.HasPrefix(raw, []byte{0xfe, 0xff}), len(raw) > 1 && raw[0] == 0 && raw[1] != 0:
		raw = fromUTF16(bytes.TrimPrefix(raw, []byte{0xfe, 0xff}), binary.BigEndian)
	default:
		raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	}
	if len(raw) > 0 && !utf8.Valid(raw) {
		return "\ufffd"
	}
	return string(raw)
}

func fromUTF16(raw []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// looseBody is the value of a body; text where it is no JSON, so that it counts as something that may be anything.
func looseBody(text string) any {
	if text == "" {
		return nil
	}
	if v, err := decodeJSON([]byte(text), false); err == nil {
		return v
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if v, err := looseValue(d, 0); err == nil && d.InputOffset() > int64(len(text))/2 {
		return v
	}
	return text
}

// looseValue reads a value in which keys may stand twice, and keeps all that stands at a key.
func looseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil || depth > 64 {
		return nil, io.ErrUnexpectedEOF
	}
	switch t {
	case json.Delim('{'):
		out := map[string]any{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, io.ErrUnexpectedEOF
			}
			v, err := looseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			name, _ := key.(string)
			if have, twice := out[strings.ToLower(name)]; twice {
				v = []any{have, v}
			}
			out[strings.ToLower(name)] = v
		}
		_, err = d.Token()
		return out, err
	case json.Delim('['):
		out := []any{}
		for d.More() {
			v, err := looseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		_, err = d.Token()
		return out, err
	default:
		if s, ok := t.(string); ok && depth > 1 && len(s) > 8 { // a part's body may stand in base64
			if octets, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "=")); err == nil && looksLikeJSON(octets) {
				return string(octets), nil
			}
		}
		return t, nil
	}
}
