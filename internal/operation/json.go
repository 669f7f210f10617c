package operation

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxDepth    = 64  // levels of nesting
	maxNumber   = 64  // characters of one number
	maxExponent = 400 // beyond it, readers disagree (float64 ends at 308) and big-number readers hang
)

// jsonReader reads JSON so strictly that no two readers can see different documents in what it accepts (RFC 8259 with
// the SHOULDs taken as MUSTs, RFC 7493): keys once at every depth, UTF-8 without lone surrogates, nothing after the end.
// encoding/json takes the last of two equal keys, replaces bad UTF-8 and folds case at will, which is how policy and
// upstream come to read two documents.
type jsonReader struct {
	data  []byte
	at    int
	depth int
	fold  bool
}

// decodeJSON returns map[string]any, []any, string, json.Number, bool or nil. With fold, keys that differ only in
// case are the same key.
func decodeJSON(data []byte, fold bool) (any, error) {
	r := jsonReader{data: data, fold: fold}
	r.space()
	v, err := r.value()
	if err != nil {
		return nil, err
	}
	r.space()
	if r.at != len(r.data) {
		return nil, refuse("something follows the JSON document")
	}
	return v, nil
}

func (r *jsonReader) space() {
	for r.at < len(r.data) {
		switch r.data[r.at] {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return
		}
	}
}

// next returns the byte at hand, 0 at the end: a NUL is no JSON anywhere outside of strings.
func (r *jsonReader) next() byte {
	if r.at < len(r.data) {
		return r.data[r.at]
	}
	return 0
}

func (r *jsonReader) value() (any, error) {
	switch c := r.next(); {
	case c == '{':
		return r.nested(r.object)
	case c == '[':
		return r.nested(r.array)
	case c == '"':
		return r.text()
	case c == 't':
		return true, r.word("true")
	case c == 'f':
		return false, r.word("false")
	case c == 'n':
		return nil, r.word("null")
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	default:
		return nil, refuse("the body is not valid JSON")
	}
}

func (r *jsonReader) nested(read func() (any, error)) (any, error) {
	if r.depth++; r.depth > maxDepth {
		return nil, refuse("the JSON document is nested too deeply")
	}
	r.at++
	r.space()
	v, err := read()
	r.depth--
	return v, err
}

func (r *jsonReader) object() (any, error) {
	out := map[string]any{}
	if r.next() == '}' {
		r.at++
		return out, nil
	}
	var folded map[string]bool
	for {
		if r.next() != '"' {
			return nil, refuse("the body is not valid JSON")
		}
		key, err := r.text()
		if err != nil {
			return nil, err
		}
		if strings.IndexByte(key, 0) >= 0 {
			return nil, refuse("a JSON key has a NUL")
		}
		if r.fold {
			f := foldKey(key)
			if folded[f] {
				return nil, refuse("a JSON key stands twice")
			}
			if folded == nil {
				folded = map[string]bool{}
			}
			folded[f] = true
		}
		if _, twice := out[key]; twice {
			return nil, refuse("a JSON key stands twice")
		}
		r.space()
		if r.next() != ':' {
			return nil, refuse("the body is not valid JSON")
		}
		r.at++
		r.space()
		if out[key], err = r.value(); err != nil {
			return nil, err
		}
		if done, err := r.more('}'); done || err != nil {
			return out, err
		}
	}
}

func (r *jsonReader) array() (any, error) {
	out := []any{}
	if r.next() == ']' {
		r.at++
		return out, nil
	}
	for {
		v, err := r.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if done, err := r.more(']'); done || err != nil {
			return out, err
		}
	}
}

// more passes a comma, or the closing bracket and says that it did.
func (r *jsonReader) more(closing byte) (done bool, err error) {
	r.space()
	switch r.next() {
	case ',':
		r.at++
		r.space()
		return false, nil
	case closing:
		r.at++
		return true, nil
	default:
		return false, refuse("the body is not valid JSON")
	}
}

func (r *jsonReader) word(w string) error {
	if !bytes.HasPrefix(r.data[r.at:], []byte(w)) {
		return refuse("the body is not valid JSON")
	}
	r.at += len(w)
	return nil
}

func (r *jsonReader) number() (any, error) {
	start := r.at
	if r.next() == '-' {
		r.at++
	}
	if r.next() == '0' {
		r.at++
	} else if !r.digits() {
		return nil, refuse("the body is not valid JSON")
	}
	if r.next() == '.' {
		r.at++
		if !r.digits() {
			return nil, refuse("the body is not valid JSON")
		}
	}
	if c := r.next(); c == 'e' || c == 'E' {
		r.at++
		if c := r.next(); c == '+' || c == '-' {
			r.at++
		}
		first := r.at
		if !r.digits() {
			return nil, refuse("the body is not valid JSON")
		}
		n := 0
		for _, d := range r.data[first:r.at] {
			if n = n*10 + int(d-'0'); n > maxExponent {
				return nil, refuse("a JSON number is out of every range")
			}
		}
	}
	if r.at-start > maxNumber {
		return nil, refuse("a JSON number is too long")
	}
	return json.Number(r.data[start:r.at]), nil
}

func (r *jsonReader) digits() bool {
	start := r.at
	for c := r.next(); '0' <= c && c <= '9'; c = r.next() {
		r.at++
	}
	return r.at > start
}

// text reads a string. The usual one has no escapes and is copied whole.
func (r *jsonReader) text() (string, error) {
	r.at++
	start := r.at
	for r.at < len(r.data) {
		switch c := r.data[r.at]; {
		case c == '"':
			s := r.data[start:r.at]
			r.at++
			if !utf8.Valid(s) {
				return "", refuse("the JSON document is not UTF-8")
			}
			return string(s), nil
		case c == '\\':
			return r.escaped(start)
		case c < ' ':
			return "", refuse("a JSON string has control characters")
		default:
			r.at++
		}
	}
	return "", refuse("the JSON document is cut short")
}

func (r *jsonReader) escaped(start int) (string, error) {
	out := append([]byte(nil), r.data[start:r.at]...)
	for r.at < len(r.data) {
		c := r.data[r.at]
		r.at++
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", refuse("the JSON document is not UTF-8")
			}
			return string(out), nil
		case c < ' ':
			return "", refuse("a JSON string has control characters")
		case c != '\\':
			out = append(out, c)
			continue
		}
		e := r.next()
		r.at++
		if e == 'u' {
			u, err := r.surrogates()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, u)
			continue
		}
		i := strings.IndexByte(`"\/bfnrt`, e)
		if e == 0 || i < 0 {
			return "", refuse("a JSON string has an unknown escape")
		}
		out = append(out, "\"\\/\b\f\n\r\t"[i])
	}
	return "", refuse("the JSON document is cut short")
}

// surrogates reads XXXX of \uXXXX, with the other half where the first one is a half.
func (r *jsonReader) surrogates() (rune, error) {
	u, ok := r.hex4()
	if !ok {
		return 0, refuse("a JSON string has a broken escape")
	}
	if !utf16.IsSurrogate(u) {
		return u, nil
	}
	if bytes.HasPrefix(r.data[min(r.at, len(r.data)):], []byte(`\u`)) {
		r.at += 2
		if low, ok := r.hex4(); ok {
			if whole := utf16.DecodeRune(u, low); whole != unicode.ReplacementChar {
				return whole, nil
			}
		}
	}
	return 0, refuse("a JSON string has half a surrogate pair")
}

func (r *jsonReader) hex4() (rune, bool) {
	if r.at+4 > len(r.data) {
		return 0, false
	}
	var u rune
	for _, c := range r.data[r.at : r.at+4] {
		if !isHex(c) {
			return 0, false
		}
		u = u<<4 | rune(unhex(c))
	}
	r.at += 4
	return u, true
}

// foldKey maps keys that some server takes for one to one. Simple folding is what strings.EqualFold and .NET's ordinal
// comparison do, and covers the long s and the Kelvin sign. OData 4.01 lets a prefix go: @odata.id and @id are one.
func foldKey(s string) string {
	if isASCII(s) {
		s = strings.ToLower(s)
	} else {
		s = strings.Map(foldRune, s)
	}
	return strings.Replace(s, "@odata.", "@", 1)
}

func foldRune(c rune) rune {
	least := c
	for f := unicode.SimpleFold(c); f != c; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return unicode.ToLower(least)
}
