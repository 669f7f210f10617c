package duo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"
)

// object is a JSON object with its members as they came. Names are compared exactly: encoding/json into a struct would
// take "RESULT" for "result" and the last of two for the truth.
type object map[string]json.RawMessage

var errMalformed = errors.New("not one JSON object")

// parseObject reads exactly one object, without repeated members and with nothing after it.
func parseObject(raw []byte) (object, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errMalformed
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errMalformed
	}
	o := object{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errMalformed
		}
		if _, twice := o[name]; twice {
			return nil, errMalformed
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return nil, errMalformed
		}
		o[name] = v
	}
	if _, err := dec.Token(); err != nil {
		return nil, errMalformed
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errMalformed
	}
	return o, nil
}

// text returns a member that is a string; "" when it is absent or something else.
func (o object) text(name string) string {
	var s string
	if v, ok := o[name]; !ok || json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

// has says whether a member is there and says something.
func (o object) has(name string) bool {
	v, ok := o[name]
	return ok && string(v) != "null" && string(v) != `""`
}

func (o object) number(name string) int {
	var n int
	if v, ok := o[name]; !ok || json.Unmarshal(v, &n) != nil {
		return 0
	}
	return n
}

// decode takes the envelope off. Anything but HTTP 200 with stat OK around an object is an *Error.
func decode(name string, status int, body []byte) (object, error) {
	fault := &Error{Call: name, Status: status}
	env, err := parseObject(body)
	if err != nil {
		return nil, fault
	}
	switch env.text("stat") {
	case "OK":
		if status != http.StatusOK || env.has("code") {
			return nil, fault
		}
	case "FAIL":
		fault.Code = env.number("code")
		return nil, fault
	default:
		return nil, fault
	}
	response, err := parseObject(env["response"])
	if err != nil {
		return nil, fault
	}
	return response, nil
}
