package operation

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"unicode/utf8"
)

// The kinds of body that policy knows (design §6.4).
const (
	kindNone      = "none"
	kindJSON      = "json"
	kindForm      = "form"
	kindMultipart = "multipart"
	kindXML       = "xml"
	kindText      = "text"
	kindBinary    = "binary"
)

const (
	maxFields = 2048
	maxParts  = 256
)

// body is a decoded body: a JSON value, a form as map[string]any of strings, a string, or nil.
type body struct {
	kind  string
	value any
}

type bodyRules struct {
	fold   bool // property names fold
	upload bool // the path takes a file: its content type describes the file
}

// readBody reads octets as their content type says, or not at all.
func readBody(octets []byte, ct contentType, rules bodyRules) (body, error) {
	if len(octets) == 0 {
		return body{kind: kindNone}, nil
	}
	kind := kindOf(ct)
	if ct.media == "" && !rules.upload {
		return body{}, refuse("the body has no content type")
	}
	if !rules.upload && kind != kindJSON && looksLikeJSON(octets) {
		return body{}, refuse("the body is JSON and its content type says otherwise")
	}
	if kind != kindBinary && kind != kindMultipart {
		if hasBOM(octets) {
			return body{}, refuse("the body starts with a byte order mark")
		}
		if !utf8.Valid(octets) {
			return body{}, refuse("the body is not UTF-8")
		}
	}
	switch kind {
	case kindJSON:
		v, err := decodeJSON(octets, rules.fold)
		return body{kind, v}, err
	case kindForm:
		v, err := decodeForm(octets)
		return body{kind, v}, err
	case kindMultipart:
		return readMultipart(octets, ct.boundary)
	case kindXML:
		if err := checkXML(octets); err != nil {
			return body{}, err
		}
		return body{kind, string(octets)}, nil
	case kindText:
		return body{kind, string(octets)}, nil
	default:
		return body{kind: kindBinary}, nil // unread by policy
	}
}

func kindOf(ct contentType) string {
	switch m := ct.media; {
	case m == "application/json" || m == "text/json" || strings.HasSuffix(m, "+json") || strings.HasPrefix(m, "application/x-amz-json-"):
		return kindJSON
	case m == "application/x-www-form-urlencoded":
		return kindForm
	case strings.HasPrefix(m, "multipart/"):
		return kindMultipart
	case m == "application/xhtml+xml":
		return kindText // pages to be stored, with a DOCTYPE of their own
	case strings.HasPrefix(m, "image/"):
		return kindBinary // image/svg+xml too: a picture, not a message
	case m == "application/xml" || m == "text/xml" || strings.HasSuffix(m, "+xml"):
		return kindXML
	case strings.HasPrefix(m, "text/"):
		return kindText
	default:
		return kindBinary
	}
}

// looksLikeJSON reports whether a server that does not care for content types would read octets as an object or array.
func looksLikeJSON(octets []byte) bool {
	s := bytes.TrimPrefix(octets, []byte("\xef\xbb\xbf"))
	s = bytes.TrimLeft(s, " \t\r\n\f\v\x00")
	if len(s) == 0 {
		return false
	}
	if s[0] == '{' {
		return true
	}
	if s[0] != '[' {
		return false
	}
	inner := bytes.TrimLeft(s[1:], " \t\r\n")
	if len(inner) > 0 && (inner[0] == '{' || inner[0] == '[') {
		return true
	}
	_, err := decodeJSON(s, false)
	return err == nil
}

func hasBOM(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) || bytes.HasPrefix(b, []byte("\xfe\xff")) || bytes.HasPrefix(b, []byte("\xff\xfe"))
}

// decodeForm reads application/x-www-form-urlencoded. A field that stands twice is refused: servers take the first,
// the last, or both joined.
func decodeForm(octets []byte) (map[string]any, error) {
	raw := strings.TrimRight(string(octets), "\r\n")
	if strings.Count(raw, "&") >= maxFields {
		return nil, refuse("the form has too many fields")
	}
	out := map[string]any{}
	folded := map[string]bool{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if strings.Contains(part, ";") {
			return nil, refuse("the form has a semicolon that some servers split at")
		}
		rawName, rawValue, _ := strings.Cut(part, "=")
		name, err := unescapeForm(rawName)
		if err != nil {
			return nil, err
		}
		value, err := unescapeForm(rawValue)
		if err != nil {
			return nil, err
		}
		if name == "" || hasControl(name) {
			return nil, refuse("a form field has no proper name")
		}
		if folded[foldKey(name)] { // ASP.NET, for one, folds the names of fields
			return nil, refuse("a form field stands twice")
		}
		folded[foldKey(name)] = true
		if overridesMethod(name) {
			return nil, refuse("a form field overrides the method")
		}
		out[name] = value
	}
	return out, nil
}

func unescapeForm(s string) (string, error) {
	v, err := unescape(s, true, true)
	if err != nil {
		return "", refuse("the form is not properly escaped")
	}
	if strings.IndexByte(v, 0) >= 0 {
		return "", refuse("the form has a NUL")
	}
	return v, nil
}

// readMultipart checks that the parts can be told apart and that none carries a request of its own. What stands in
// them is shown to policy as text, where it is text.
func readMultipart(octets []byte, boundary string) (body, error) {
	if boundary == "" {
		return body{}, refuse("the multipart body has no boundary")
	}
	r := multipart.NewReader(bytes.NewReader(octets), boundary)
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) && n > 0 {
			break
		}
		if err != nil || n == maxParts {
			return body{}, refuse("the multipart body cannot be taken apart")
		}
		if ct, err := parseContentType(part.Header.Get("Content-Type")); err == nil && (ct.media == "application/http" || strings.HasPrefix(ct.media, "multipart/")) {
			return body{}, refuse("the multipart body has requests of its own")
		} else if err != nil && part.Header.Get("Content-Type") != "" {
			return body{}, refuse("a part has a content type that cannot be parsed")
		}
		if overridesMethod(part.FormName()) {
			return body{}, refuse("a form field overrides the method")
		}
		if _, err := io.Copy(io.Discard, part); err != nil {
			return body{}, refuse("the multipart body cannot be taken apart")
		}
	}
	if !utf8.Valid(octets) {
		return body{kind: kindMultipart}, nil
	}
	return body{kindMultipart, string(octets)}, nil
}

// checkXML refuses entities and encodings by which a parser reads more, or other text, than stands there.
func checkXML(octets []byte) error {
	s := string(octets)
	if containsFold(s, "<!doctype") || containsFold(s, "<!entity") {
		return refuse("the XML document has a DOCTYPE")
	}
	head, _, _ := strings.Cut(s, "?>")
	if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "<?xml") && containsFold(head, "encoding") &&
		!containsFold(head, "utf-8") && !containsFold(head, "us-ascii") {
		return refuse("the XML document is not UTF-8")
	}
	return nil
}
