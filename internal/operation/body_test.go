package operation_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"

	"countersign/internal/operation"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// encode applies one coding.
func encode(t testing.TB, coding string, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip", "x-gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
	case "br":
		w = brotli.NewWriter(&out)
	case "zstd":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		t.Fatalf("coding %q", coding)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encoded(coding string, body []byte) operation.Request {
	r := request("PATCH", "/v1.0/users/bob", "", "Content-Type", jsonType, "Content-Encoding", coding)
	r.Body = body
	return r
}

var codings = []string{"gzip", "x-gzip", "deflate", "br", "zstd"}

const resetBody = `{"passwordProfile":{"password":"hunter2"}}`

func TestAnEncodedBodyIsTheSameCallAsThePlainOne(t *testing.T) {
	p := newParser(t, 0)
	plain := mustParse(t, p, request("PATCH", "/v1.0/users/bob", resetBody))
	for _, coding := range codings {
		call := mustParse(t, p, encoded(strings.ToUpper(coding), encode(t, coding, []byte(resetBody))))
		if call.Inputs[0].Operation.Name != "user.password.reset" || call.FalseEncoding || call.Digest != plain.Digest {
			t.Errorf("%s: Call = %+v, want the operation and digest of the plain one", coding, call)
		}
	}
}

func TestAFalseLabelOnAPlainBodyIsReported(t *testing.T) {
	p := newParser(t, 0)
	plain := mustParse(t, p, request("PATCH", "/v1.0/users/bob", resetBody))
	for _, coding := range codings {
		call := mustParse(t, p, encoded(coding, []byte(resetBody)))
		if !call.FalseEncoding || call.Digest != plain.Digest || call.Inputs[0].Operation.Name != "user.password.reset" {
			t.Errorf("%s: Call = %+v, want FalseEncoding and the plain digest", coding, call)
		}
	}
	form := request("POST", "/v1.0/x", "", "Content-Type", "application/x-www-form-urlencoded", "Content-Encoding", "gzip")
	form.Body = []byte("a=b&c=d")
	if call := mustParse(t, p, form); !call.FalseEncoding {
		t.Error("a plain form labelled gzip: FalseEncoding = false")
	}
	for _, body := range []string{"not json", "5", `{"a":1`, "\x1f\x8b\x08junk"} {
		_, err := p.Parse(encoded("gzip", []byte(body)))
		wantUninspectable(t, body, err)
	}
}

func TestACodingThatHidesSomethingIsUninspectable(t *testing.T) {
	p := newParser(t, 0)
	for _, coding := range codings {
		whole := encode(t, coding, []byte(resetBody))
		for what, body := range map[string][]byte{
			"two members":   append(bytes.Clone(whole), whole...),
			"trailing data": append(bytes.Clone(whole), '{', '}'),
			"trailing NUL":  append(bytes.Clone(whole), 0),
			"truncated":     whole[:len(whole)-2],
		} {
			_, err := p.Parse(encoded(coding, body))
			wantUninspectable(t, coding+": "+what, err)
		}
	}
	for _, coding := range []string{"gzip, gzip", "identity, gzip", "gzip,", "compress", "x-rot13", "", "gzip;q=1"} {
		_, err := p.Parse(encoded(coding, encode(t, "gzip", []byte(resetBody))))
		wantUninspectable(t, coding, err)
	}
	raw := encode(t, "zstd", []byte(resetBody))
	_, err := p.Parse(encoded("zstd", append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'x'}, raw...)))
	wantUninspectable(t, "a skippable zstd frame in front", err)
}

func TestABombIsUninspectable(t *testing.T) {
	p := newParser(t, 1<<14)
	bomb := append(append([]byte(`{"x":"`), bytes.Repeat([]byte("a"), 1<<19)...), `"}`...)
	for _, coding := range codings {
		_, err := p.Parse(encoded(coding, encode(t, coding, bomb)))
		wantUninspectable(t, coding, err)
	}
	_, err := p.Parse(request("PATCH", "/v1.0/users/bob", string(bomb)))
	wantUninspectable(t, "plain", err)
}

func TestBodiesAreReadAsTheirContentTypeSays(t *testing.T) {
	p := newParser(t, 0)
	for _, c := range []struct{ target, contentType, body, kind string }{
		{"/v1.0/x", "", "", "none"},
		{"/v1.0/x", jsonType, "", "none"},
		{"/v1.0/x", "application/scim+json", `{"a":1}`, "json"},
		{"/v1.0/x", "application/x-amz-json-1.1", `{"a":1}`, "json"},
		{"/v1.0/x", "application/x-www-form-urlencoded", "a=1&b=%20+", "form"},
		{"/v1.0/x", "text/plain; charset=us-ascii", "hello", "text"},
		{"/v1.0/x", "application/xhtml+xml", "<!DOCTYPE html><html/>", "text"},
		{"/v1.0/x", "application/soap+xml", `<?xml version="1.0" encoding="utf-8"?><a/>`, "xml"},
		{"/v1.0/x", "application/octet-stream", "\x00\x01\xff", "binary"},
		{"/v1.0/x", "image/svg+xml", "<!DOCTYPE svg><svg/>", "binary"},
		{"/v1.0/me/drive/root:/a.json:/content", "application/octet-stream", `{"a":1,"a":2}`, "binary"},
		{"/v1.0/me/drive/items/x/content", "text/plain", `{"a":1}`, "text"},
		{"/v1.0/me/photo/$value", "", "\xff\xd8\xff", "binary"},
		{"/v1.0/x", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nx\r\n--b--\r\n", "multipart"},
	} {
		var header []string
		if c.contentType != "" {
			header = []string{"Content-Type", c.contentType}
		}
		r := request("PUT", c.target, "", header...)
		r.Body = []byte(c.body)
		if got := mustParse(t, p, r).Inputs[0].Request.BodyKind; got != c.kind {
			t.Errorf("%s %q: BodyKind = %q, want %q", c.contentType, c.body, got, c.kind)
		}
	}
}

func TestABodyThatIsNotWhatItsContentTypeSaysIsUninspectable(t *testing.T) {
	p := newParser(t, 0)
	for _, c := range []struct{ contentType, body string }{
		{"", "a=b"}, {"", `{"a":1}`}, {"text/plain", resetBody}, {"text/plain", " \r\n" + resetBody}, {"application/octet-stream", resetBody}, {"text/plain", `[{"a":1}]`},
		{"image/png", resetBody}, {"application/x-www-form-urlencoded", resetBody}, {"text/xml", resetBody}, {"text/plain", "{'a':1}"}, {"text/plain", "\ufeff" + resetBody},
		{jsonType, "a=b"}, {jsonType, "\ufeff{}"}, {jsonType, "\xff\xfe{\x00}\x00"}, {"text/plain", "caf\xe9"}, {"text/plain", "\xef\xbb\xbfhello"},
		{"application/x-www-form-urlencoded", "a=1&a=2"}, {"application/x-www-form-urlencoded", "a=1&A=2"}, {"application/x-www-form-urlencoded", "a=1;b=2"},
		{"application/x-www-form-urlencoded", "a=%zz"}, {"application/x-www-form-urlencoded", "a=%ff"}, {"application/x-www-form-urlencoded", "=x"}, {"application/x-www-form-urlencoded", "a=%00"},
		{"application/xml", `<!DOCTYPE a [<!ENTITY b "c">]><a/>`}, {"text/xml", "<!doctype a><a/>"}, {"text/xml", `<?xml version="1.0" encoding="utf-7"?><a/>`},
		{"multipart/mixed", "--b--"}, {"multipart/mixed; boundary=b", "nothing"}, {"multipart/mixed; boundary=b", "--b\r\n\r\nx"},
		{"multipart/mixed; boundary=b", "--b\r\nContent-Type: application/http\r\n\r\nDELETE /x HTTP/1.1\r\n\r\n--b--\r\n"},
		{"multipart/mixed; boundary=b", "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c--\r\n--b--\r\n"},
	} {
		r := request("POST", "/v1.0/users", "")
		if c.contentType != "" {
			r.Header["Content-Type"] = []string{c.contentType}
		}
		r.Body = []byte(c.body)
		_, err := p.Parse(r)
		wantUninspectable(t, c.contentType+" "+c.body, err)
	}
	r := request("PUT", "/things/content", resetBody, "Content-Type", "text/plain")
	r.Host = "plain.example"
	_, err := p.Parse(r)
	wantUninspectable(t, "an upload path is known of OData alone", err)
}

func TestABodyOnAGetIsInspectedToo(t *testing.T) {
	p := newParser(t, 0)
	bare := mustParse(t, p, request("GET", "/v1.0/users/bob", ""))
	with := mustParse(t, p, request("GET", "/v1.0/users/bob", `{"a":1}`))
	if bare.Digest == with.Digest || with.Inputs[0].Request.BodyKind != "json" {
		t.Errorf("a GET's body is not part of the call: %+v", with)
	}
	_, err := p.Parse(request("GET", "/v1.0/users/bob", `{"a":1,"a":2}`))
	wantUninspectable(t, "a GET with a bad body", err)
}
