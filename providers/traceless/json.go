package traceless

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxDepth = 32 // of nested JSON, in answers and templates

// parseJSON reads exactly one JSON value, with nothing after it, and no object in it with a member twice: two readers
// could take different ones for the truth. Objects are map[string]any, numbers json.Number.
func parseJSON(raw []byte) (any, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errMalformed
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return v, nil
}

// parseObject is parseJSON for a document that has to be an object.
func parseObject(raw []byte) (map[string]any, error) {
	v, err := parseJSON(raw)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, errMalformed
	}
	return o, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil || depth > maxDepth {
		return nil, errMalformed
	}
	switch t {
	case json.Delim('{'):
		return parseMembers(dec, depth)
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	default:
		return t, nil
	}
}

func parseMembers(dec *json.Decoder, depth int) (any, error) {
	o := map[string]any{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errMalformed
		}
		if _, twice := o[name]; twice {
			return nil, errMalformed
		}
		if o[name], err = parseValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return o, err
}

// pointer is a parsed JSON Pointer (RFC 6901). A nil one points nowhere.
type pointer []string

var unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")

func parsePointer(s string) (pointer, error) {
	if !strings.HasPrefix(s, "/") || !utf8.ValidString(s) || len(s) > 500 {
		return nil, fmt.Errorf("%q is no JSON Pointer such as /data/status", s)
	}
	parts := strings.Split(s[1:], "/")
	for i, p := range parts {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(p), "~") {
			return nil, fmt.Errorf("%q is no JSON Pointer: ~ stands only in ~0 and ~1", s)
		}
		parts[i] = unescapePointer.Replace(p)
	}
	return parts, nil
}

// find returns what the pointer points to; nil when nothing is there, or null.
func (p pointer) find(doc any) any {
	if p == nil {
		return nil
	}
	for _, name := range p {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != name {
				return nil
			}
			doc = v[i]
		default:
			return nil
		}
	}
	return doc
}

// text returns the string that the pointer points to; "" when there is none.
func (p pointer) text(doc any) string {
	s, _ := p.find(doc).(string) // anything else is as good as absent
	return s
}
