package operation_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"unicode/utf16"

	"countersign/internal/operation"
)

func gzipped(members ...string) string {
	var b bytes.Buffer
	for _, m := range members {
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(m)) // a bytes.Buffer does not fail
		_ = z.Close()             // nor here
	}
	return b.String()
}

func utf16le(s string) string {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return string(out)
}

func TestARefusedRequestIsNamedByWhatItLooksLike(t *testing.T) {
	p := newParser(t, 0)
	const reset, add = "user.password.reset", "application.credential.add"
	const body = `{"passwordProfile":{"password":"x"}}`
	for about, c := range map[string]struct {
		want string
		r    operation.Request
	}{
		"double slash":            {reset, request("PATCH", "/v1.0//users/bob", body)},
		"dot segments":            {reset, request("PATCH", "/v1.0/me/../users/bob", body)},
		"back slashes":            {reset, request("PATCH", `/v1.0\users\bob`, body)},
		"escaped twice":           {reset, request("PATCH", "/v1.0/us%2565rs/bob", body)},
		"matrix parameter":        {reset, request("PATCH", "/v1.0/users;a=b/bob", body)},
		"full-width letters":      {reset, request("PATCH", "/v1.0/use%EF%BD%92s/bob", body)},
		"NUL":                     {add, request("POST", "/v1.0/applications/1/addPassword%00", "")},
		"fragment":                {add, request("POST", "/v1.0/applications/1/addPassword#/me/messages", "")},
		"unknown version":         {reset, request("PATCH", "/v2.0/users/bob", body)},
		"no version":              {reset, request("PATCH", "/users/bob", body)},
		"two versions":            {reset, request("PATCH", "/v1.0/beta/users/bob", body)},
		"method in a header":      {reset, request("GET", "/v1.0/users/bob", body, "Content-Type", jsonType, "X-HTTP-Method-Override", "PATCH")},
		"method in the query":     {reset, request("POST", "/v1.0/users/bob?_method=PATCH", body)},
		"method in lower case":    {reset, request("patch", "/v1.0/users/bob", body)},
		"byte order mark":         {reset, request("PATCH", "/v1.0/users/bob", "\ufeff"+body)},
		"UTF-16":                  {reset, request("PATCH", "/v1.0/users/bob", utf16le(body))},
		"two gzip members":        {reset, request("PATCH", "/v1.0/users/bob", gzipped(body[:10], body[10:]), "Content-Type", jsonType, "Content-Encoding", "gzip")},
		"unknown coding":          {reset, request("PATCH", "/v1.0/users/bob", "\x01\x02\xff", "Content-Type", jsonType, "Content-Encoding", "x-rot13")},
		"key twice":               {reset, request("PATCH", "/v1.0/users/bob", `{"passwordProfile":null,"passwordProfile":{"password":"x"}}`)},
		"key in two cases":        {reset, request("PATCH", "/v1.0/users/bob", `{"PasswordProfile":{"password":"x"},"passwordprofile":null}`)},
		"comments":                {reset, request("PATCH", "/v1.0/users/bob", `/* */ `+body)},
		"two documents":           {reset, request("PATCH", "/v1.0/users/bob", `{"a":1}`+body)},
		"batch, requests twice":   {add, request("POST", "/v1.0/$batch", `{"requests":[],"requests":[{"id":"1","method":"POST","url":"/applications/1/addPassword"}]}`)},
		"batch, method twice":     {add, request("POST", "/v1.0/$batch", `{"requests":[{"id":"1","method":"GET","method":"POST","url":"/me","url":"/applications/1/addPassword"}]}`)},
		"batch, dot segments":     {add, request("POST", "/v1.0/$batch", `{"requests":[{"id":"1","method":"POST","url":"/me/../applications/1/addPassword"}]}`)},
		"batch, absolute URL":     {add, request("POST", "/v1.0/$batch", `{"requests":[{"id":"1","method":"POST","url":"https://graph.example/v1.0/applications/1/addPassword"}]}`)},
		"batch, multipart":        {add, request("POST", "/v1.0/$batch", "--b\r\nContent-Type: application/http\r\n\r\nPOST /v1.0/applications/1/addPassword HTTP/1.1\r\n\r\n--b--\r\n", "Content-Type", "multipart/mixed; boundary=b")},
		"batch in another place":  {reset, request("POST", "/v1.0/me/$batch", `{"requests":[{"id":"1","method":"PATCH","url":"/users/bob","body":`+body+`}]}`)},
		"batch, base64 and a key": {reset, request("POST", "/v1.0/$batch", `{"requests":[{"id":"1","id":"2","method":"PATCH","url":"/users/bob","body":"`+base64.RawURLEncoding.EncodeToString([]byte(body))+`"}]}`)},
	} {
		_, err := p.Parse(c.r)
		u, ok := errors.AsType[*operation.Uninspectable](err)
		switch {
		case !ok:
			t.Errorf("%s: err = %v, want *Uninspectable", about, err)
		case u.Resembles == nil || u.Resembles.Name != c.want:
			t.Errorf("%s: Resembles = %+v, want %s", about, u.Resembles, c.want)
		case strings.Contains(err.Error(), "bob"):
			t.Errorf("%s: the error has data of the request: %v", about, err)
		}
	}
}

func TestAHarmlessRequestThatIsRefusedLooksLikeNothing(t *testing.T) {
	p := newParser(t, 0)
	for _, r := range []operation.Request{
		request("GET", "/v1.0/me/../users/bob", ""),
		request("PATCH", "/v1.0//users/bob", `{"city":"x"}`),
		request("POST", "/v1.0/$batch", `{"requests":[],"requests":[{"id":"1","method":"GET","url":"/me"}]}`),
		{Method: "PATCH", Scheme: "https", Host: "unknown.example", Target: "//users/bob"},
	} {
		_, err := p.Parse(r)
		if u, ok := errors.AsType[*operation.Uninspectable](err); !ok || u.Resembles != nil {
			t.Errorf("%s %s: %v, want it refused without a name", r.Method, r.Target, err)
		}
	}
}

func TestAURLThatIsRefusedHasALikelyRequest(t *testing.T) {
	for raw, want := range map[string]string{
		"https://x@graph.example/v1.0/a?b": "graph.example/v1.0/a?b",
		"http://graph.example/v1.0/a":      "graph.example/v1.0/a",
		"https://graph%2Eexample/v1.0/a":   "graph.example/v1.0/a",
		"https://graph.example:8443/a":     "graph.example/a",
		"https://graph.example":            "",
		"graph.example/a":                  "",
	} {
		r, ok := operation.CheckRequest{Method: "GET", URL: raw}.Likely()
		if got := r.Host + r.Target; got != want || ok != (want != "") {
			t.Errorf("Likely(%s) = %q, %v, want %q", raw, got, ok, want)
		}
	}
}
