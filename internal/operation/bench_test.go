package operation_test

import (
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	p := newParser(b, 0)
	bearer := "Bearer " + token(b, map[string]any{"iss": "https://sts.example/t", "tid": "t", "oid": "o", "sub": "s", "appid": "a", "exp": 1})
	common := []string{"Authorization", bearer, "User-Agent", "kiota/1.9", "Accept", "application/json", "Client-Request-Id", "5", "Accept-Encoding", "gzip"}
	body := `{"displayName":"` + strings.Repeat("x", 400) + `","passwordProfile":{"password":"hunter2"},"list":["` + strings.Repeat("y", 500) + `",1,2,3]}`
	for name, r := range map[string]struct {
		method, target, body string
		header               []string
	}{
		"get":      {"GET", "/v1.0/users/bob@contoso.com?$select=id,displayName", "", common},
		"json-1KB": {"PATCH", "/v1.0/users/bob@contoso.com", body, append([]string{"Content-Type", jsonType}, common...)},
	} {
		b.Run(name, func(b *testing.B) {
			r := request(r.method, r.target, r.body, r.header...)
			b.ReportAllocs()
			b.SetBytes(int64(len(r.Body)))
			for b.Loop() {
				if _, err := p.Parse(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
