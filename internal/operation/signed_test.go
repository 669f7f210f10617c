package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"countersign/internal/operation"
)

const duoLike = `{"api": "duo-like", "source": "test", "hosts": ["duo.example"], "semantics": {"signed_auth": true},
  "entries": [{"name": "user.create", "method": "POST", "path": "/users", "category": "account_creation", "summary": "Create", "undone": "Not created"}]}`

const awsLike = `{"api": "aws-like", "source": "test", "hosts": ["*.aws.example"], "semantics": {"aws": {"rpc": ["iam"]}},
  "entries": [{"name": "user.delete", "method": "ACTION", "path": "/action/iam/DeleteUser", "category": "account_creation", "summary": "Delete", "undone": "Not deleted"}]}`

func basic(key, sum string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"+sum))
}

func duoCall(host, auth, date string) operation.Request {
	return at(host, "POST", "/users", "username=bob", "Content-Type", "application/x-www-form-urlencoded", "Authorization", auth, "Date", date)
}

func TestASignatureOverOneRequestIsNotThePrincipal(t *testing.T) {
	p := parserOf(t, duoLike, plainLike)
	one, two, key3 := strings.Repeat("0a", 20), strings.Repeat("1b", 64), strings.Repeat("0a", 20)
	const monday, tuesday = "Mon, 23 Nov 2026 10:00:00 -0000", "Tue, 24 Nov 2026 10:00:00 -0000"
	call := func(host, auth, date string) string {
		return mustParse(t, p, duoCall(host, auth, date)).Digest.String()
	}
	first := call("duo.example", basic("DIKEY1", one), monday)
	if again := call("duo.example", basic("DIKEY1", two), tuesday); again != first {
		t.Error("a call signed afresh has another digest")
	}
	if other := call("duo.example", basic("DIKEY2", key3), monday); other == first {
		t.Error("a call under another key has the same digest")
	}
	if plain := call("duo.example", basic("DIKEY1", "hunter2"), monday); plain == first {
		t.Error("a password counts as a signature")
	}
	if call("plain.example", basic("bob", one), monday) == call("plain.example", basic("bob", strings.Repeat("2c", 20)), monday) {
		t.Error("where nothing is signed two passwords are one principal")
	}
}

// proof is a DPoP proof with a key of the given name, made at the given second.
func proof(t *testing.T, x string, at int) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	head := map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": map[string]any{"kty": "EC", "crv": "P-256", "x": x, "y": "y"}}
	return part(head) + "." + part(map[string]any{"htm": "GET", "htu": "https://plain.example/x", "iat": at, "jti": at}) + ".c2ln"
}

func TestADPoPProofIsKnownByItsKey(t *testing.T) {
	p := parserOf(t, plainLike)
	digest := func(auth string, proofs ...string) string {
		header := []string{"Authorization", auth}
		for _, s := range proofs {
			header = append(header, "DPoP", s)
		}
		c := mustParse(t, p, at("plain.example", "GET", "/x", "", header...))
		if c.Inputs[0].Request.Headers["dpop"] != nil {
			t.Error("policy sees the proof")
		}
		return c.Digest.String()
	}
	jwt := func(sub string, n int) string {
		return token(t, map[string]any{"iss": "i", "sub": sub, "n": n})
	}
	first := digest("DPoP "+jwt("s", 1), proof(t, "a", 1))
	for name, c := range map[string]struct {
		got  string
		same bool
	}{
		"a fresh proof":          {digest("DPoP "+jwt("s", 1), proof(t, "a", 2)), true},
		"a refreshed token":      {digest("DPoP "+jwt("s", 2), proof(t, "a", 3)), true},
		"another key":            {digest("DPoP "+jwt("s", 1), proof(t, "b", 1)), false},
		"another person":         {digest("DPoP "+jwt("z", 1), proof(t, "a", 1)), false},
		"a bearer of the token":  {digest("Bearer "+jwt("s", 1), proof(t, "a", 1)), false},
		"an opaque token":        {digest("DPoP opaque", proof(t, "a", 1)), false},
		"a proof that cannot be": {digest("DPoP "+jwt("s", 1), "x.y.z"), false},
		"two proofs":             {digest("DPoP "+jwt("s", 1), proof(t, "a", 1), proof(t, "b", 1)), false},
		"no proof":               {digest("DPoP " + jwt("s", 1)), false},
	} {
		if (c.got == first) != c.same {
			t.Errorf("%s: same digest is %v, want %v", name, c.got == first, c.same)
		}
	}
	if digest("DPoP opaque", proof(t, "a", 1)) != digest("DPoP opaque", proof(t, "a", 2)) {
		t.Error("an opaque token with a fresh proof has another digest")
	}
}

func TestASignedURLIsKnownByItsKey(t *testing.T) {
	p := parserOf(t, awsLike, plainLike)
	digest := func(host, signature string) string {
		return mustParse(t, p, at(host, "GET", "/?Action=DeleteUser&UserName=bob&"+signature, "")).Digest.String()
	}
	sign := func(key, date, sum string) string {
		return "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + key + "%2F" + date + "%2Fus-east-1%2Fiam%2Faws4_request&X-Amz-Date=" + date +
			"T100000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + sum
	}
	const host = "iam.aws.example"
	first := digest(host, sign("AKIA1", "20261123", "0a"))
	if digest(host, sign("AKIA1", "20261124", "1b")) != first {
		t.Error("a URL signed afresh has another digest")
	}
	if digest(host, sign("AKIA2", "20261123", "0a")) == first {
		t.Error("a URL signed with another key has the same digest")
	}
	if digest(host, sign("AKIA1", "20261123", "0a")+"&Force=1") == first {
		t.Error("another parameter leaves the digest as it is")
	}
	if digest("plain.example", sign("AKIA1", "20261123", "0a")) == digest("plain.example", sign("AKIA1", "20261123", "1b")) {
		t.Error("where no URL is signed such parameters do not count")
	}
}

func TestACallSaysWhenItWasSignedAndForHowLong(t *testing.T) {
	p := parserOf(t, awsLike, duoLike, plainLike)
	sigv4 := "AWS4-HMAC-SHA256 Credential=AKIA/20261124/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0a"
	const unknown = 0
	want := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	url := func(expires string) operation.Request {
		return at("iam.aws.example", "GET", "/?X-Amz-Date=20261124T100000Z&X-Amz-Expires="+expires+"&X-Amz-Signature=0a", "")
	}
	for name, c := range map[string]struct {
		r    operation.Request
		at   time.Time
		life time.Duration
	}{
		"SigV4":              {at("iam.aws.example", "GET", "/", "", "Authorization", sigv4, "X-Amz-Date", "20261124T100000Z"), want, 5 * time.Minute},
		"SigV4 by Date":      {at("iam.aws.example", "GET", "/", "", "Authorization", sigv4, "Date", "Tue, 24 Nov 2026 10:00:00 GMT"), want, 5 * time.Minute},
		"a signed URL":       {url("90"), want, 90 * time.Second},
		"one without an end": {at("iam.aws.example", "GET", "/?X-Amz-Date=20261124T100000Z&X-Amz-Signature=0a", ""), want, unknown},
		"one for too long":   {url("604801"), want, unknown},
		"one for less":       {url("-1"), want, unknown},
		"Duo":                {duoCall("duo.example", basic("DI", strings.Repeat("0a", 20)), "Tue, 24 Nov 2026 11:00:00 +0100"), want, 5 * time.Minute},
		"DPoP":               {at("plain.example", "GET", "/x", "", "Authorization", "DPoP t", "DPoP", proof(t, "a", int(want.Unix()))), want, unknown},
		"nothing signed":     {at("plain.example", "GET", "/x", "", "Authorization", "Bearer t", "Date", "Tue, 24 Nov 2026 10:00:00 GMT"), time.Time{}, unknown},
		"an unreadable one":  {at("iam.aws.example", "GET", "/", "", "Authorization", sigv4, "X-Amz-Date", "now"), time.Time{}, unknown},
	} {
		until := time.Time{}
		if c.life != unknown {
			until = c.at.Add(c.life)
		}
		if got := mustParse(t, p, c.r); !got.SignedAt.Equal(c.at) || !got.SignedUntil.Equal(until) {
			t.Errorf("%s: signed at %v until %v, want %v and %v", name, got.SignedAt, got.SignedUntil, c.at, until)
		}
	}
}
