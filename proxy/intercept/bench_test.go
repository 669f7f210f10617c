package intercept_test

import (
	"strconv"
	"testing"

	"countersign/proxy/intercept"
)

func BenchmarkFirstHandshakeOfAName(b *testing.B) {
	ca := newCA(b)
	i := newInterceptor(b, ca, intercept.Options{})
	for n := 0; b.Loop(); n++ {
		host := "h" + strconv.Itoa(n) + ".example.com"
		if _, clientErr, serverErr := shake(b, i, host, trust(ca, host)); clientErr != nil || serverErr != nil {
			b.Fatal(clientErr, serverErr)
		}
	}
}

func BenchmarkCachedHandshake(b *testing.B) {
	ca := newCA(b)
	i := newInterceptor(b, ca, intercept.Options{})
	client := trust(ca, "graph.microsoft.com")
	for b.Loop() {
		if _, clientErr, serverErr := shake(b, i, "graph.microsoft.com", client); clientErr != nil || serverErr != nil {
			b.Fatal(clientErr, serverErr)
		}
	}
}
