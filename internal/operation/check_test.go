package operation_test

import (
	"errors"
	"testing"

	"countersign/internal/operation"
)

func TestALineOfCheckIsTheRequestItDescribes(t *testing.T) {
	p := newParser(t, 0)
	for _, c := range []struct{ line, name, kind string }{
		{`{"id":"1","method":"PATCH","url":"https://GRAPH.example:443/v1.0/users/bob","headers":{"Content-Type":"application/json"},"body":{"passwordProfile":{}},"label":"x"}`, "user.password.reset", "json"},
		{`{"id":"1","method":"PATCH","url":"https://graph.example/v1.0/users/bob","body":{"passwordProfile":{}}}`, "user.password.reset", "json"},
		{`{"id":"1","method":"PATCH","url":"https://graph.example/v1.0/users/bob","headers":{"content-type":["application/json"]},"body":"{\"passwordProfile\":{}}"}`, "user.password.reset", "json"},
		{`{"id":"1","method":"PATCH","url":"HTTPS://graph.example./v1.0/users/bob","headers":{"Content-Type":"application/json"},"body":"eyJwYXNzd29yZFByb2ZpbGUiOnt9fQ==","body_encoding":"base64"}`, "user.password.reset", "json"},
		{`{"id":"1","method":"GET","url":"https://graph.example/v1.0/users?$filter=displayName eq 'é'","headers":null,"body":null}`, "", "none"},
		{`{"id":"1","method":"GET","url":"https://graph.example"}`, "", "none"},
		{`{"id":"1","method":"GET","url":"https://graph.example?x=1"}`, "", "none"},
	} {
		line, err := operation.ParseCheck([]byte(c.line))
		if err != nil || line.ID != "1" {
			t.Errorf("%s: %+v, %v", c.line, line, err)
			continue
		}
		r, err := line.Request()
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		in := mustParse(t, p, r).Inputs[0]
		if in.Operation.Name != c.name || in.Request.BodyKind != c.kind || in.Request.Host != "graph.example" {
			t.Errorf("%s: %+v", c.line, in)
		}
	}
}

func TestAURLThatIsNoOneWayToSendIsUninspectableAndNotABadLine(t *testing.T) {
	p := newParser(t, 0)
	for _, url := range []string{
		"http://graph.example/v1.0/me", "https://graph.example:8443/v1.0/me", "https://x@graph.example/v1.0/me", "https://graph%2Eexample/v1.0/me", "graph.example/v1.0/me", "/v1.0/me",
		"https:///v1.0/me", "https://graph.example\\@evil.example/v1.0/me", "//graph.example/v1.0/me", "ftp://graph.example/", "https://graph.example/v1.0/../me", "https://graph.example/v1.0/me#x",
		"https://graph.example/v1.0//me", "https://graph.example#x", "https://graph.example/v1.0/ｍe", "https://graph.example/v1.0/m e ", "https://graph.example/v1.0/me\t", "https://[graph.example]/v1.0/me",
	} {
		line := operation.CheckRequest{Method: "GET", URL: url}
		r, err := line.Request()
		if err == nil {
			_, err = p.Parse(r)
		}
		wantUninspectable(t, url, err)
	}
}

func TestABodyOfALineIsJudgedOctetByOctet(t *testing.T) {
	line, err := operation.ParseCheck([]byte(`{"id":"1","method":"PATCH","url":"https://graph.example/v1.0/users/bob","body":{"a":1,"a":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := line.Request()
	if err != nil {
		t.Fatal(err)
	}
	_, err = newParser(t, 0).Parse(r)
	wantUninspectable(t, "a duplicate key inside body", err)
}

func TestALineThatCannotBeParsedIsAnErrorOfItsOwn(t *testing.T) {
	for _, line := range []string{
		``, `x`, `[]`, `5`, `null`, `{`, `{}`, `{"id":"1"}`, `{"id":"1","method":"GET"}`, `{"id":"1","url":"https://x.example"}`, `{"id":1,"method":"GET","url":"https://x.example"}`,
		`{"id":"1","method":"GET","url":"https://x.example"}{}`, `{"id":"1","method":"GET","url":"https://x.example","url":"https://y.example"}`, `{"id":"1","method":5,"url":"https://x.example"}`,
		`{"id":"1","method":"GET","url":"https://x.example","headers":[]}`, `{"id":"1","method":"GET","url":"https://x.example","headers":{"a":5}}`, `{"id":"1","method":"GET","url":"https://x.example","headers":{"a":[5]}}`,
		`{"id":"1","method":"GET","url":"https://x.example","headers":{"a":"1","a":"2"}}`, `{"id":"1","method":"GET","url":"https://x.example","body":"*","body_encoding":"base64"}`,
		`{"id":"1","method":"GET","url":"https://x.example","body":"x","body_encoding":"hex"}`, `{"id":"1","method":"GET","url":"https://x.example","body":{},"body_encoding":"base64"}`,
		`{"id":"1","method":"GET","url":"https://x.example","body":}`, "{\"id\":\"\xff\",\"method\":\"GET\",\"url\":\"https://x.example\"}", `{"id":"\ud800","method":"GET","url":"https://x.example"}`,
	} {
		_, err := operation.ParseCheck([]byte(line))
		if err == nil {
			t.Errorf("%s: no error", line)
		}
		if _, ok := errors.AsType[*operation.Uninspectable](err); ok {
			t.Errorf("%s: a bad line is not an uninspectable request", line)
		}
	}
}
