package operation_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"countersign/internal/operation"
)

// A transform is a disguise: it changes how a call is written, and never makes another call of it that its server would
// take for less. n chooses a place.
type transform struct {
	name string
	put  func(r operation.Request, n int) operation.Request
}

// on changes the path alone.
func on(change func(path string, n int) string) func(operation.Request, int) operation.Request {
	return func(r operation.Request, n int) operation.Request {
		path, query, has := strings.Cut(r.Target, "?")
		if r.Target = change(path, n); has {
			r.Target += "?" + query
		}
		return r
	}
}

// within puts text into a path at one of its slashes.
func within(text string) func(operation.Request, int) operation.Request {
	return on(func(path string, n int) string {
		segments := strings.Split(path, "/")
		i := 1 + n%(len(segments)-1)
		return strings.Join(slices.Insert(segments, i, text), "/")
	})
}

func letter(path string, n int, write func(byte) string) string {
	for i := range path {
		at := (n + i) % len(path)
		if c := path[at]; 'a' <= c && c <= 'z' && !strings.HasSuffix(path[:at], "%") && (at < 2 || path[at-2] != '%') {
			return path[:at] + write(c) + path[at+1:]
		}
	}
	return path
}

// header sets a field, and another puts it beside the one that is there.
func header(name, value string) func(operation.Request, int) operation.Request {
	return func(r operation.Request, _ int) operation.Request {
		h := maps.Clone(r.Header)
		maps.DeleteFunc(h, func(k string, _ []string) bool { return strings.EqualFold(k, name) })
		h[name] = []string{value}
		r.Header = h
		return r
	}
}

func another(name, value string) func(operation.Request, int) operation.Request {
	return func(r operation.Request, _ int) operation.Request {
		r.Header = maps.Clone(r.Header)
		r.Header[name] = append(slices.Clone(r.Header[name]), value)
		return r
	}
}

func query(pair string) func(operation.Request, int) operation.Request {
	return func(r operation.Request, _ int) operation.Request {
		sep := "?"
		if strings.Contains(r.Target, "?") {
			sep = "&"
		}
		r.Target += sep + pair
		return r
	}
}

func body(change func(b []byte, n int) []byte) func(operation.Request, int) operation.Request {
	return func(r operation.Request, n int) operation.Request {
		if len(r.Body) > 0 {
			r.Body = change(slices.Clone(r.Body), n)
		}
		return r
	}
}

// afterBrace puts text first into a JSON object.
func afterBrace(text string) func(operation.Request, int) operation.Request {
	return body(func(b []byte, _ int) []byte {
		if b[0] != '{' {
			return b
		}
		return slices.Insert(b, 1, []byte(text)...)
	})
}

// batched wraps a call to Graph into a batch, after a harmless one.
func batched(r operation.Request, _ int) operation.Request {
	version, target, ok := strings.Cut(strings.TrimPrefix(r.Target, "/"), "/")
	if r.Host != "graph.microsoft.com" || !ok || !json.Valid(r.Body) {
		return r
	}
	part, err := json.Marshal(map[string]any{"id": "2", "method": r.Method, "url": target, "headers": map[string]string{"Content-Type": jsonType}, "body": json.RawMessage(r.Body)})
	if err != nil {
		return r
	}
	b := fmt.Sprintf(`{"requests":[{"id":"1","method":"GET","url":"me"},%s]}`, part)
	return at(r.Host, "POST", "/"+version+"/$batch", b, "Content-Type", jsonType)
}

// keyForm writes a key in parentheses, on the APIs that speak OData. On others that is another resource.
func keyForm(r operation.Request, n int) operation.Request {
	if r.Host != "graph.microsoft.com" && r.Host != "graph.windows.net" {
		return r
	}
	return on(func(path string, _ int) string {
		for _, c := range []string{"users", "applications", "groups", "devices", "deviceLocalCredentials", "recoveryKeys"} {
			if before, after, ok := strings.Cut(path, "/"+c+"/"); ok {
				id, rest, more := strings.Cut(after, "/")
				if path = before + "/" + c + "('" + id + "')"; more {
					path += "/" + rest
				}
				return path
			}
		}
		return path
	})(r, n)
}

func moved(from, to string) func(operation.Request, int) operation.Request {
	return on(func(path string, _ int) string {
		if tail, ok := strings.CutPrefix(path, from); ok {
			return to + tail
		}
		return path
	})
}

func compressed(r operation.Request, _ int) operation.Request {
	if len(r.Body) == 0 {
		return r
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(r.Body); err != nil || w.Close() != nil {
		return r // a buffer takes everything
	}
	r.Body = out.Bytes()
	return header("Content-Encoding", "gzip")(r, 0)
}

func aliased(r operation.Request, _ int) operation.Request {
	r.Body = bytes.Replace(r.Body, []byte("mutation{"), []byte("mutation{addComment:"), 1)
	return r
}

func moreFields(r operation.Request, _ int) operation.Request {
	r.Body = bytes.Replace(r.Body, []byte("mutation{"), []byte("mutation{addStar(input:{}){x} "), 1)
	return r
}

func arrayed(r operation.Request, _ int) operation.Request {
	if strings.HasSuffix(r.Target, "/graphql") {
		r.Body = slices.Concat([]byte(`[{"query":"{viewer{login}}"},`), r.Body, []byte("]"))
	}
	return r
}

var transforms = []transform{
	{"a letter escaped", on(func(p string, n int) string {
		return letter(p, n, func(c byte) string { return fmt.Sprintf("%%%02x", c) })
	})},
	{"a letter escaped twice", on(func(p string, n int) string {
		return letter(p, n, func(c byte) string { return fmt.Sprintf("%%25%02x", c) })
	})},
	{"a full-width letter", on(func(p string, n int) string {
		return letter(p, n, func(c byte) string {
			r := 'ａ' + rune(c-'a')
			return fmt.Sprintf("%%%02X%%%02X%%%02X", string(r)[0], string(r)[1], string(r)[2])
		})
	})},
	{"upper case", on(func(p string, _ int) string { return strings.ToUpper(p) })},
	{"one upper-case letter", on(func(p string, n int) string {
		return letter(p, n, func(c byte) string { return string(c - 'a' + 'A') })
	})},
	{"an empty segment", within("")},
	{"a dot segment", within(".")},
	{"a step up", within("x/..")},
	{"an escaped step up", within("x/%2e%2e")},
	{"an escaped slash", on(func(p string, n int) string { return strings.Replace(p, "/", "/%2f", 1+n%2) })},
	{"a back slash", on(func(p string, _ int) string { return strings.Replace(p, "/", "/%5c", 1) })},
	{"a matrix parameter", on(func(p string, _ int) string { return p + ";x=y" })},
	{"a NUL", on(func(p string, _ int) string { return p + "%00" })},
	{"a fragment", on(func(p string, _ int) string { return p + "#x" })},
	{"a trailing slash", on(func(p string, _ int) string { return strings.TrimSuffix(p, "/") + "/" })},
	{"a space", on(func(p string, _ int) string { return p + "%20" })},
	{"doubled slashes everywhere", on(func(p string, _ int) string { return "/" + strings.ReplaceAll(strings.TrimPrefix(p, "/"), "/", "//") })},
	{"a step down and up", on(func(p string, n int) string {
		return strings.TrimSuffix(p, "/") + []string{"/x/..", "/.", "/x//..", "/./"}[n%4]
	})},
	{"its own method by header", func(r operation.Request, n int) operation.Request {
		return header("X-HTTP-Method-Override", r.Method)(r, n)
	}},
	{"HEAD for GET", func(r operation.Request, _ int) operation.Request {
		if r.Method == "GET" {
			r.Method = "HEAD"
		}
		return r
	}},
	{"a key in parentheses", keyForm},
	{"the beta version", moved("/v1.0/", "/beta/")},
	{"an unknown version", moved("/v1.0/", "/v9.9/")},
	{"a tenant", moved("/v1.0/", "/v1.0/contoso.com/")},
	{"my organisation", moved("/v1.0/", "/v1.0/myorganization/")},
	{"a cast", moved("/v1.0/users/bob@contoso.com", "/v1.0/users/bob@contoso.com/microsoft.graph.user")},
	{"a batch", batched},
	{"a GET by header", header("X-HTTP-Method-Override", "GET")},
	{"a GET by another header", header("X-HTTP-Method", "GET")},
	{"a GET by parameter", query("_method=GET")},
	{"another target", header("X-Original-URL", "/v1.0/me")},
	{"an action in the query", query("Action=ListUsers")},
	{"a target header", another("X-Amz-Target", "SWBExternalService.ListInstances")},
	{"a parameter", query("$select=id")},
	{"a semicolon", query("x=1;y=2")},
	{"compression", compressed},
	{"a false label", header("Content-Encoding", "gzip")},
	{"an unknown coding", header("Content-Encoding", "compress")},
	{"two codings", header("Content-Encoding", "gzip, br")},
	{"another charset", header("Content-Type", jsonType+"; charset=utf-16")},
	{"text", header("Content-Type", "text/plain")},
	{"a form", header("Content-Type", "application/x-www-form-urlencoded")},
	{"octets", header("Content-Type", "application/octet-stream")},
	{"two parts", header("Content-Type", "multipart/mixed; boundary=x")},
	{"a byte order mark", body(func(b []byte, _ int) []byte { return append([]byte("\xef\xbb\xbf"), b...) })},
	{"white space", body(func(b []byte, _ int) []byte { return append([]byte(" \r\n"), b...) })},
	{"something after it", body(func(b []byte, _ int) []byte { return append(b, "{}"...) })},
	{"an escaped key", body(func(b []byte, _ int) []byte {
		if i := bytes.Index(b, []byte(`{"`)); i >= 0 && i+2 < len(b) {
			return slices.Concat(b[:i+2], fmt.Appendf(nil, `\u%04x`, b[i+2]), b[i+3:])
		}
		return b
	})},
	{"a harmless twin", afterBrace(`"displayName":"x",`)},
	{"a key twice", body(func(b []byte, _ int) []byte {
		return bytes.Replace(b, []byte("{\""), []byte("{\"query\":\"{a}\",\"passwordProfile\":null,\"role\":\"member\",\""), 1)
	})},
	{"a field twice", body(func(b []byte, _ int) []byte {
		if b[0] == '{' {
			return b
		}
		return append(b, "&Action=ListUsers&count=0"...)
	})},
	{"an alias", aliased},
	{"another field", moreFields},
	{"an array of requests", arrayed},
}

// beginnings change what stands before the resource. A server takes one of them: with two it is another call.
var beginnings = []string{"the beta version", "an unknown version", "a tenant", "my organisation"}
