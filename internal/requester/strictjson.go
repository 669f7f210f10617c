package requester

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"
	"unicode/utf8"
)

var errJSON = errors.New("the assertion is not strict JSON")

const maxDepth = 16

// strictObject reads one JSON object in the one way every reader agrees on: no name twice at any depth, valid UTF-8,
// nothing after it, no number that a float cannot hold.
func strictObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errJSON
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := strictValue(dec, 0)
	if err != nil {
		return nil, errJSON
	}
	object, ok := v.(map[string]any)
	if _, err := dec.Token(); !ok || !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return object, nil
}

func strictValue(dec *json.Decoder, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil || depth > maxDepth {
		return nil, errors.Join(err, errJSON)
	}
	switch tok := tok.(type) {
	case json.Number:
		if f, err := tok.Float64(); err != nil || math.IsInf(f, 0) {
			return nil, errJSON
		}
		return tok, nil
	case json.Delim:
		if tok == '{' {
			return strictMembers(dec, depth)
		}
		list := []any{}
		for dec.More() {
			v, err := strictValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	default:
		return tok, nil
	}
}

func strictMembers(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := tok.(string)
		if _, twice := object[name]; !ok || twice {
			return nil, errJSON
		}
		if object[name], err = strictValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}

// date reads an RFC 7519 NumericDate.
func date(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	const year9999 = 253402300799
	f, err := n.Float64()
	if err != nil || f <= 0 || f > year9999 {
		return time.Time{}, false
	}
	sec, frac := math.Modf(f)
	return time.Unix(int64(sec), int64(frac*1e9)), true
}
