package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"countersign/internal/catalog"
	"countersign/internal/operation"
	"countersign/policy"
)

// token is an unsigned JWT; nothing here verifies one.
func token(t testing.TB, claims map[string]any) string {
	t.Helper()
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + part(body) + "." + part([]byte("signature"))
}

func digestOf(t testing.TB, p *operation.Parser, r operation.Request) policy.Digest {
	t.Helper()
	return mustParse(t, p, r).Digest
}

func with(header ...string) operation.Request {
	return request("PATCH", "/v1.0/users/bob?a=1", resetBody, append([]string{"Content-Type", jsonType}, header...)...)
}

func TestAnIdenticalRetryHasTheSameDigest(t *testing.T) {
	p := newParser(t, 0)
	claims := func(exp int) map[string]any {
		return map[string]any{"iss": "https://sts.example/t", "tid": "t", "oid": "o", "sub": "s", "appid": "a", "exp": exp, "uti": exp}
	}
	first := with("Authorization", "Bearer "+token(t, claims(1)), "Date", "x", "User-Agent", "a", "Client-Request-Id", "1", "Traceparent", "1", "Content-Length", "9")
	retry := with("authorization", "bearer "+token(t, claims(2)), "Retry-Attempt", "1", "client-request-id", "2", "X-Request-Id", "4", "Accept-Encoding", "br", "Transfer-Encoding", "chunked", "Connection", "close", "Proxy-Authorization", "Basic x", "Amz-Sdk-Request", "attempt=2")
	if digestOf(t, p, first) != digestOf(t, p, retry) {
		t.Error("a retry with a refreshed token has another digest")
	}
	escaped := with()
	escaped.Target = "/v1.0/users/b%6Fb?%61=1"
	if digestOf(t, p, with()) != digestOf(t, p, escaped) {
		t.Error("the same octets after decoding have another digest")
	}
	aws := func(date, signature string) operation.Request {
		return with("X-Amz-Date", date, "X-Amz-Security-Token", "t"+date, "Authorization",
			"AWS4-HMAC-SHA256 Credential=AKID/"+date+"/us-east-1/iam/aws4_request, SignedHeaders=host, Signature="+signature)
	}
	if digestOf(t, p, aws("20260101", "x")) != digestOf(t, p, aws("20260102", "y")) {
		t.Error("a request signed again has another digest")
	}
}

func TestWhateverChangesTheCallChangesTheDigest(t *testing.T) {
	p := newParser(t, 0)
	base := map[string]any{"iss": "i", "tid": "t", "oid": "o", "sub": "s", "azp": "z", "appid": "a"}
	bearer := func(name string, value any) operation.Request {
		claims := map[string]any{}
		for k, v := range base {
			claims[k] = v
		}
		claims[name] = value
		return with("Authorization", "Bearer "+token(t, claims))
	}
	change := func(f func(*operation.Request)) operation.Request {
		r := with()
		f(&r)
		return r
	}
	wantDistinct(t, p, map[string]operation.Request{
		"plain":             with(),
		"method":            change(func(r *operation.Request) { r.Method = "PUT" }),
		"host":              change(func(r *operation.Request) { r.Host = "other.example" }),
		"path":              change(func(r *operation.Request) { r.Target = "/v1.0/users/eve?a=1" }),
		"case of an id":     change(func(r *operation.Request) { r.Target = "/v1.0/users/Bob?a=1" }),
		"tenant":            change(func(r *operation.Request) { r.Target = "/v1.0/contoso.com/users/bob?a=1" }),
		"query":             change(func(r *operation.Request) { r.Target = "/v1.0/users/bob?a=2" }),
		"query name":        change(func(r *operation.Request) { r.Target = "/v1.0/users/bob?a1=" }),
		"query into path":   change(func(r *operation.Request) { r.Target = "/v1.0/users/bob/a=1" }),
		"body":              change(func(r *operation.Request) { r.Body = []byte(`{"passwordProfile":{"password":"other"}}`) }),
		"body white space":  change(func(r *operation.Request) { r.Body = []byte(resetBody + " ") }),
		"header":            with("Prefer", "x"),
		"two headers":       with("Prefer", "x", "If-Match", "y"),
		"values of headers": with("Prefer", "y", "If-Match", "x"),
		"idempotency key":   with("Idempotency-Key", "1"),
		"opaque":            with("Authorization", "Bearer opaque"),
		"opaque, other":     with("Authorization", "Bearer opaque2"),
		"basic":             with("Authorization", "Basic eDp5"),
		"cookie":            with("Cookie", "a=b"),
		"cookie, other":     with("Cookie", "a=c"),
		"API key":           with("X-Api-Key", "k"),
		"token":             bearer("sub", "s"),
		"other iss":         bearer("iss", "x"),
		"other tid":         bearer("tid", "x"),
		"other oid":         bearer("oid", "x"),
		"other sub":         bearer("sub", "x"),
		"other azp":         bearer("azp", "x"),
		"other appid":       bearer("appid", "x"),
		"sub of no text":    bearer("sub", 5),
		"no issuer":         bearer("iss", nil),
	})
}

func TestAnAWSPrincipalIsKeyRegionAndService(t *testing.T) {
	aws := func(scope string) operation.Request {
		return with("Authorization", "AWS4-HMAC-SHA256 Credential="+scope+"/aws4_request, SignedHeaders=host, Signature=x")
	}
	wantDistinct(t, newParser(t, 0), map[string]operation.Request{
		"AWS":            aws("AKID/20260101/us-east-1/iam"),
		"AWS key id":     aws("AKID2/20260101/us-east-1/iam"),
		"AWS region":     aws("AKID/20260101/eu-west-1/iam"),
		"AWS service":    aws("AKID/20260101/us-east-1/sts"),
		"AWS, malformed": with("Authorization", "AWS4-HMAC-SHA256 Credential=AKID, Signature=x"),
	})
}

func wantDistinct(t *testing.T, p *operation.Parser, requests map[string]operation.Request) {
	t.Helper()
	seen := map[policy.Digest]string{}
	for what, r := range requests {
		d := digestOf(t, p, r)
		if other, twice := seen[d]; twice {
			t.Errorf("%s and %s have one digest", what, other)
		}
		seen[d] = what
	}
}

func TestManyTokensFromManyCallersKeepTheirPrincipals(t *testing.T) {
	p := newParser(t, 0)
	const people = 40
	call := func(who, refresh int) operation.Request {
		return with("Authorization", "Bearer "+token(t, map[string]any{"iss": "i", "sub": fmt.Sprint(who), "exp": refresh}))
	}
	var want [people]policy.Digest
	for who := range people {
		want[who] = digestOf(t, p, call(who, 0))
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := range 10 * people { // more tokens than are remembered
				got, err := p.Parse(call(n%people, 1+worker+4*n))
				if err != nil || got.Digest != want[n%people] {
					t.Errorf("caller %d: %v, %v", n%people, got.Digest, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestADigestOfAnOpaqueCredentialNeedsTheKey(t *testing.T) {
	c, err := catalog.Load(fstest.MapFS{"plain.json": {Data: []byte(plainLike)}})
	if err != nil {
		t.Fatal(err)
	}
	withKey := func(key []byte) *operation.Parser {
		p, err := operation.New(operation.Options{Catalog: c, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	r := with("Authorization", "Bearer opaque")
	if digestOf(t, withKey([]byte("one")), r) == digestOf(t, withKey([]byte("two")), r) {
		t.Error("two keys give one digest")
	}
	if first, second := digestOf(t, withKey(nil), r), digestOf(t, withKey(nil), r); first == second {
		t.Error("two random keys give one digest")
	}
	if plain := with(); digestOf(t, withKey(nil), plain) != digestOf(t, withKey([]byte("one")), plain) {
		t.Error("without a credential the digest depends on the key")
	}
}
