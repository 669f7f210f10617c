package operation

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxCheckLine bounds one line of `countersign check`.
const maxCheckLine = 64 << 20

// CheckRequest is one line of `countersign check`: a request that is classified and never sent.
type CheckRequest struct {
	ID     string
	Method string
	URL    string // as written
	Header map[string][]string
	Body   []byte
}

// ParseCheck reads one line. Members that it does not know are ignored; of those it knows each may stand once. An
// error says what is wrong with the line; what is wrong with the request comes out of Request and Parse.
func ParseCheck(line []byte) (CheckRequest, error) {
	members, err := checkMembers(line)
	if err != nil {
		return CheckRequest{}, err
	}
	var c CheckRequest
	for _, m := range []struct {
		name     string
		into     *string
		required bool
	}{{"id", &c.ID, false}, {"method", &c.Method, true}, {"url", &c.URL, true}} {
		if err := members.text(m.name, m.into); err != nil {
			return CheckRequest{}, err
		}
		if m.required && *m.into == "" {
			return CheckRequest{}, fmt.Errorf("operation: %s is missing", m.name)
		}
	}
	if c.Header, err = members.header(); err != nil {
		return CheckRequest{}, err
	}
	body, isJSON, err := members.body()
	if err != nil {
		return CheckRequest{}, err
	}
	c.Body = body
	if isJSON && !hasContentType(c.Header) { // "sent as JSON" by a client that does so for its user
		if c.Header == nil {
			c.Header = map[string][]string{}
		}
		c.Header["Content-Type"] = []string{"application/json"}
	}
	return c, nil
}

// Request is the request the line describes, its URL taken as written and only its authority in canonical form. A URL
// that no one would be sent to in one way is an error of type *Uninspectable.
func (c CheckRequest) Request() (Request, error) {
	scheme, rest, ok := strings.Cut(c.URL, "://")
	if !ok || !isIdentifier(scheme) {
		return Request{}, refuse("the URL is not absolute")
	}
	scheme = strings.ToLower(scheme)
	if scheme != "https" {
		return Request{}, refuse("the scheme is not https")
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, port, err := Authority(rest[:end], scheme)
	if err != nil {
		return Request{}, err
	}
	if port != "" {
		return Request{}, refuse("the port is not the scheme's own")
	}
	target := rest[end:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return Request{Method: c.Method, Scheme: scheme, Host: host, Target: wireTarget(target), Header: c.Header, Body: c.Body}, nil
}

// Likely is the request that the most lenient client would make of a URL that Request refuses: user information and scheme
// passed over, an escaped host decoded. It is for Parser.Resembles alone.
func (c CheckRequest) Likely() (Request, bool) {
	_, rest, ok := strings.Cut(c.URL, "://")
	if !ok {
		return Request{}, false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		return Request{}, false
	}
	name := rest[:end]
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		name = name[i+1:]
	}
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	name, _, _ = strings.Cut(name, ":")
	host, _, err := Authority(name, "https")
	if err != nil {
		return Request{}, false
	}
	return Request{Method: c.Method, Scheme: "https", Host: host, Target: rest[end:], Header: c.Header, Body: c.Body}, true
}

// wireTarget escapes what cannot stand in a request line, as every client does before it sends: letters outside of
// ASCII, and spaces in the query. Whatever else is odd stays, for Parse to judge.
func wireTarget(s string) string {
	var b strings.Builder
	query := false
	for i := range len(s) {
		c := s[i]
		query = query || c == '?'
		if c >= 0x80 || c == ' ' && query {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func hasContentType(h map[string][]string) bool {
	for name := range h {
		if strings.EqualFold(name, "content-type") {
			return true
		}
	}
	return false
}

type checkLine map[string]json.RawMessage

// checkMembers takes a line apart without looking into its values, so that a body is judged octet by octet.
func checkMembers(line []byte) (checkLine, error) {
	if len(line) > maxCheckLine {
		return nil, errors.New("operation: the line is too long")
	}
	if !utf8.Valid(line) {
		return nil, errors.New("operation: the line is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("operation: the line is not a JSON object")
	}
	out := checkLine{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errors.New("operation: the line is not valid JSON")
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, errors.New("operation: the line is not valid JSON") // the cause may quote the body
		}
		switch name {
		case "id", "method", "url", "headers", "body", "body_encoding":
			if _, twice := out[name]; twice {
				return nil, fmt.Errorf("operation: %s stands twice", name)
			}
			out[name] = raw
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("operation: the line is cut short")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("operation: something follows the object")
	}
	return out, nil
}

func (l checkLine) value(name string) (any, error) {
	raw, ok := l[name]
	if !ok {
		return nil, nil
	}
	v, err := decodeJSON(raw, false)
	if err != nil {
		return nil, fmt.Errorf("operation: %s is not strict JSON", name) // not wrapped: a bad line is no uninspectable request
	}
	return v, nil
}

func (l checkLine) text(name string, into *string) error {
	switch v, err := l.value(name); v := v.(type) {
	case nil:
		return err
	case string:
		*into = v
		return nil
	default:
		return fmt.Errorf("operation: %s is not a string", name)
	}
}

func (l checkLine) header() (map[string][]string, error) {
	v, err := l.value("headers")
	if v == nil || err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("operation: headers is not an object")
	}
	out := make(map[string][]string, len(m))
	for name, v := range m {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, v := range list {
			s, ok := v.(string)
			if !ok {
				return nil, errors.New("operation: a header is neither a string nor a list of strings")
			}
			out[name] = append(out[name], s)
		}
	}
	return out, nil
}

// body returns the octets of the body, and whether they were given as JSON.
func (l checkLine) body() (octets []byte, isJSON bool, err error) {
	var encoding string
	if err := l.text("body_encoding", &encoding); err != nil {
		return nil, false, err
	}
	if encoding != "" && encoding != "base64" {
		return nil, false, errors.New("operation: body_encoding is not base64")
	}
	raw := l["body"]
	if raw == nil || string(raw) == "null" {
		return nil, false, nil
	}
	if raw[0] != '"' {
		if encoding != "" {
			return nil, false, errors.New("operation: body is not a string and has a body_encoding")
		}
		return raw, true, nil
	}
	var s string
	if err := l.text("body", &s); err != nil {
		return nil, false, err
	}
	if encoding == "" {
		return []byte(s), false, nil
	}
	octets, err = base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, false, errors.New("operation: body is not base64")
	}
	return octets, false, nil
}
