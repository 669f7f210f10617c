package catalog_test

import (
	"fmt"
	"strings"
	"testing"

	"countersign/internal/catalog"
)

// BenchmarkMatch shows that a match costs by the depth of the path and not by the number of entries.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{30, 300, 3_000, 30_000} {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(`{"name": "e%d", "method": "POST", "path": "/things%d/{thing}/parts/{part}/do",
				"category": "credential_reset", "summary": "Do {part} of {thing}", "undone": "{part} was not done"}`, i, i))
		}
		a := load(b, `"entries": [`+strings.Join(entries, ",")+`]`)
		c := call("POST", fmt.Sprintf("/things%d/1/parts/2/do", n/2), nil)
		if m := a.Match(c); m.Coverage != catalog.Listed {
			b.Fatalf("Match = %+v", m)
		}
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.Match(c)
			}
		})
	}
	b.Run("aws", func(b *testing.B) { // hundreds of names under one service
		a := byHost(b, "iam.amazonaws.com")
		c := call("POST", "/action/iam/AttachUserPolicy", object{"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess", "UserName": "bob"})
		b.ReportAllocs()
		for b.Loop() {
			a.Match(c)
		}
	})
	b.Run("graph", func(b *testing.B) {
		a := byHost(b, graphHost)
		c := call("PATCH", "/users/bob@contoso.com", object{"passwordProfile": object{"password": "x"}})
		b.ReportAllocs()
		for b.Loop() {
			a.Match(c)
		}
	})
}
