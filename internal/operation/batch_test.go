package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"countersign/internal/operation"
)

func batch(parts ...string) operation.Request {
	return request("POST", "/v1.0/$batch", `{"requests":[`+strings.Join(parts, ",")+`]}`)
}

const benignPart = `{"id":"1","method":"GET","url":"/me"}`

func TestABatchIsOneOperationPerPartUnderOneDigest(t *testing.T) {
	p := newParser(t, 0)
	reset := `{"id":"2","method":"PATCH","url":"users/bob@contoso.com?$select=id","headers":{"Content-Type":"application/json","Prefer":"x"},"body":` + resetBody + `,"dependsOn":["1"]}`
	call := mustParse(t, p, batch(benignPart, reset))
	if !call.Batch || len(call.Inputs) != 2 {
		t.Fatalf("Call = %+v", call)
	}
	for i, in := range call.Inputs {
		if in.Operation.Batch == nil || in.Operation.Batch.Index != i || in.Operation.Batch.Size != 2 || in.Request.Digest != call.Digest {
			t.Errorf("part %d: Batch = %+v, Digest = %v", i, in.Operation.Batch, in.Request.Digest)
		}
	}
	in := call.Inputs[1]
	if in.Operation.Name != "user.password.reset" || in.Request.Method != "PATCH" || in.Request.Path != "/v1.0/users/bob@contoso.com" {
		t.Errorf("second part: %+v", in)
	}
	if !slices.Equal(in.Request.Headers["prefer"], []string{"x"}) || !slices.Equal(in.Request.Query["$select"], []string{"id"}) {
		t.Errorf("second part: headers %q, query %q", in.Request.Headers, in.Request.Query)
	}
	out, err := json.Marshal(call)
	if err != nil || strings.Contains(string(out), "hunter2") {
		t.Errorf("the parts carry a secret: %s, %v", out, err)
	}
}

func TestEveryFormOfABatchPartIsTheSameOperation(t *testing.T) {
	p := newParser(t, 0)
	b64 := base64.StdEncoding.EncodeToString([]byte(resetBody))
	b64url := base64.RawURLEncoding.EncodeToString([]byte(resetBody))
	for _, part := range []string{
		`{"id":"1","method":"PATCH","url":"/users/bob","headers":{"content-type":"application/json"},"body":` + resetBody + `}`,
		`{"id":"1","method":"PATCH","url":"/users/bob","body":` + resetBody + `}`,
		`{"id":"1","method":"PATCH","url":"users('bob')/","headers":{"Content-Type":"application/json"},"body":` + resetBody + `}`,
		`{"ID":"1","Method":"PATCH","URL":"/Users/bob","Headers":{"Content-Type":"application/json"},"Body":` + resetBody + `}`,
		`{"id":"1","method":"PATCH","url":"/myorganization/users/bob","headers":null,"dependsOn":null,"body":` + resetBody + `}`,
		`{"id":"1","method":"PATCH","url":"/users/bob","headers":{"Content-Type":"application/json"},"body":"` + b64 + `"}`,
		`{"id":"1","method":"PATCH","url":"/users/bob","headers":{"Content-Type":"application/json"},"body":"` + b64url + `"}`,
	} {
		call, err := p.Parse(batch(part))
		if err != nil {
			t.Errorf("%s: %v", part, err)
			continue
		}
		if op := call.Inputs[0].Operation; op.Name != "user.password.reset" || op.Resource.ID != "bob" {
			t.Errorf("%s: Operation = %+v", part, op)
		}
	}
	for _, target := range []string{"/beta/$batch", "/v1.0/$Batch", "/v1.0/%24batch", "/v1.0/$batch/", "/v1.0/$batch?x=1", "/v1.0/myorganization/$batch", "/v1.0/$batch()"} {
		r := batch(benignPart)
		r.Target = target
		if call := mustParse(t, p, r); !call.Batch || len(call.Inputs) != 1 {
			t.Errorf("%s: Call = %+v", target, call)
		}
	}
}

func TestABatchThatIsNotPlainlyOneIsUninspectable(t *testing.T) {
	p := newParser(t, 0)
	part := func(members string) string { return `{"id":"2","method":"PATCH","url":"/users/bob"` + members + `}` }
	at := func(url string) string { return `{"id":"2","method":"PATCH","url":"` + url + `"}` }
	for _, doc := range []string{
		`[]`, `{}`, `5`, `null`, `{"requests":[]}`, `{"requests":{}}`, `{"requests":[` + benignPart + `],"x":1}`, `{"requests":[` + benignPart + `],"Requests":[]}`,
		`{"requests":[5]}`, `{"requests":[{"id":"1","method":"GET"}]}`, `{"requests":[{"method":"GET","url":"/me"}]}`, `{"requests":[{"id":"","method":"GET","url":"/me"}]}`,
		`{"requests":[{"id":1,"method":"GET","url":"/me"}]}`, `{"requests":[{"id":"1","method":"get","url":"/me"}]}`, `{"requests":[` + benignPart + `,` + benignPart + `]}`,
	} {
		_, err := p.Parse(request("POST", "/v1.0/$batch", doc))
		wantUninspectable(t, doc, err)
	}
	for _, second := range []string{
		part(`,"if":"true"`), part(`,"atomicityGroup":"g"`), part(`,"dependsOn":["9"]`), part(`,"dependsOn":["2"]`), part(`,"dependsOn":"1"`), part(`,"dependsOn":[1]`),
		part(`,"headers":[]`), part(`,"headers":{"X-HTTP-Method":"DELETE"}`), part(`,"headers":{"a":1}`), part(`,"headers":{"Content-Encoding":"gzip"}`),
		part(`,"headers":{"Authorization":"Bearer x"}`), part(`,"headers":{"Host":"graph.example"}`), part(`,"headers":{"Content-Type":"text/plain"},"body":{}`),
		part(`,"headers":{"Content-Type":"application/json"},"body":"not base64!"`), part(`,"headers":{"Content-Type":"application/json"},"body":"aGVsbG8="`), part(`,"body":"aGVsbG8="`),
		part(`,"body":5`), part(`,"body":true`), part(`,"headers":{"Content-Type":"text/plain"},"body":"{\"a\":1}"`),
		part(`,"headers":{"Content-Type":"text/plain"},"body":"` + base64.StdEncoding.EncodeToString([]byte(resetBody)) + `"`),
		part(`,"headers":{"Content-Type":"application/octet-stream"},"body":"` + base64.StdEncoding.EncodeToString([]byte(resetBody)) + `"`),
		at("https://graph.example/v1.0/users/bob"), at("//graph.example/users/bob"), at("https:/users/bob"), at("/https://graph.example/users/bob"), at("graph.example/v1.0/users/bob"),
		at("/v1.0/users/bob"), at("beta/users/bob"), at("/myorganization/beta/users/bob"), at("../beta/users/bob"), at("/me/../users/bob"), at("/me/%2e%2e/users/bob"),
		at("/$1"), at("$1/members"), at("/$2"), at("/$batch"), at("$Batch"), at("/me/$batch"), at("/%24batch"), at(""), at("/"), at("?x"), at("#x"), at("/users/bob#x"), at("/users//bob"), at("/users/bob?_method=DELETE"), at(" /users/bob"),
	} {
		_, err := p.Parse(batch(benignPart, second))
		wantUninspectable(t, second, err)
	}
	for what, change := range map[string]func(*operation.Request){
		"GET":          func(r *operation.Request) { r.Method = "GET" },
		"PUT":          func(r *operation.Request) { r.Method = "PUT" },
		"no body":      func(r *operation.Request) { r.Body = nil },
		"text":         func(r *operation.Request) { r.Header["Content-Type"] = []string{"text/plain"} },
		"with a tail":  func(r *operation.Request) { r.Target = "/v1.0/$batch/me" },
		"with a key":   func(r *operation.Request) { r.Target = "/v1.0/$batch('x')" },
		"no version":   func(r *operation.Request) { r.Target = "/$batch" },
		"in a subpath": func(r *operation.Request) { r.Target = "/v1.0/users/$batch" },
	} {
		r := batch(benignPart)
		change(&r)
		_, err := p.Parse(r)
		wantUninspectable(t, what, err)
	}
}

func TestABatchTakesTwentyPartsAndNoMore(t *testing.T) {
	p := newParser(t, 0)
	var parts []string
	for i := range 21 {
		parts = append(parts, fmt.Sprintf(`{"id":"%d","method":"GET","url":"/me"}`, i))
	}
	if call := mustParse(t, p, batch(parts[:20]...)); len(call.Inputs) != 20 {
		t.Errorf("Inputs = %d, want 20", len(call.Inputs))
	}
	_, err := p.Parse(batch(parts...))
	wantUninspectable(t, "21 parts", err)
}

func TestTextInABatchPartIsReadAsItStands(t *testing.T) {
	in := mustParse(t, newParser(t, 0), batch(`{"id":"1","method":"PUT","url":"/me/x?$filter=a eq 'é'","headers":{"Content-Type":"text/plain"},"body":"hello there"}`)).Inputs[0]
	if in.Request.Body != "hello there" || in.Request.BodyKind != "text" || in.Request.Query["$filter"][0] != "a eq 'é'" {
		t.Errorf("Request = %+v", in.Request)
	}
}

// FuzzBatch holds that every part of an accepted batch is accounted for, in order, and has a path of its own.
func FuzzBatch(f *testing.F) {
	for _, s := range []string{
		`{"requests":[` + benignPart + `]}`,
		`{"requests":[{"id":"1","method":"PATCH","url":"users/x","headers":{"Content-Type":"application/json"},"body":{"a":1}},{"id":"2","method":"GET","url":"/me","dependsOn":["1"]}]}`,
		`{"requests":[{"id":"1","method":"PUT","url":"/x","headers":{"Content-Type":"application/json"},"body":"e30="}]}`,
	} {
		f.Add(s)
	}
	p := newParser(f, 0)
	f.Fuzz(func(t *testing.T, doc string) {
		r := request("POST", "/v1.0/$batch", "", "Content-Type", jsonType)
		r.Body = []byte(doc)
		call, err := p.Parse(r)
		if err != nil {
			wantUninspectable(t, doc, err)
			return
		}
		var envelope struct {
			Requests []struct{ ID, Method, URL string }
		}
		if err := json.Unmarshal([]byte(doc), &envelope); err != nil {
			t.Fatalf("%q: %v", doc, err)
		}
		if !call.Batch || len(call.Inputs) != len(envelope.Requests) || len(call.Inputs) == 0 || len(call.Inputs) > 20 {
			t.Fatalf("%q: %d inputs for %d requests", doc, len(call.Inputs), len(envelope.Requests))
		}
		for i, in := range call.Inputs {
			if in.Request.Method != envelope.Requests[i].Method || in.Request.Digest != call.Digest || in.Operation.Batch.Index != i {
				t.Fatalf("%q: part %d is %+v", doc, i, in)
			}
			if len(in.Request.Segments) < 2 || in.Request.Segments[0] != "v1.0" || slices.Contains(in.Request.Segments, "..") {
				t.Fatalf("%q: part %d has the path %q", doc, i, in.Request.Segments)
			}
		}
	})
}
