package operation_test

import (
	"net/netip"
	"strings"
	"testing"

	"countersign/internal/operation"
)

func TestAuthorityHasOneForm(t *testing.T) {
	for in, want := range map[string][2]string{
		"graph.microsoft.com":       {"graph.microsoft.com", ""},
		"GRAPH.Microsoft.COM":       {"graph.microsoft.com", ""},
		"graph.microsoft.com.":      {"graph.microsoft.com", ""},
		"graph.microsoft.com:443":   {"graph.microsoft.com", ""},
		"graph.microsoft.com.:443":  {"graph.microsoft.com", ""},
		"graph.microsoft.com:8443":  {"graph.microsoft.com", "8443"},
		"graph.microsoft.com:80":    {"graph.microsoft.com", "80"},
		"graph。microsoft。com":       {"graph.microsoft.com", ""},
		"ｇｒａｐｈ.microsoft.com":       {"graph.microsoft.com", ""},
		"bücher.example":            {"xn--bcher-kva.example", ""},
		"bücher.example.":           {"xn--bcher-kva.example", ""},
		"bücher。example。":           {"xn--bcher-kva.example", ""},
		"XN--bcher-KVA.example":     {"xn--bcher-kva.example", ""},
		"gráph.microsoft.com":       {"xn--grph-6na.microsoft.com", ""},
		"r3---sn-x.googlevideo.com": {"r3---sn-x.googlevideo.com", ""},
		"localhost":                 {"localhost", ""},
		"127.0.0.1:8080":            {"127.0.0.1", "8080"},
		"[::1]":                     {"::1", ""},
		"[2001:DB8:0::1]:8443":      {"2001:db8::1", "8443"},
	} {
		host, port, err := operation.Authority(in, "https")
		if err != nil || host != want[0] || port != want[1] {
			t.Errorf("Authority(%q) = %q, %q, %v, want %q", in, host, port, err, want)
		}
	}
	if _, port, err := operation.Authority("x.example:80", "http"); err != nil || port != "" {
		t.Errorf("port 80 of http = %q, %v, want none", port, err)
	}
}

func TestAnAuthorityThatReadersTakeDifferentlyIsUninspectable(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", "x..example", ".x.example", "x@graph.microsoft.com", "@graph.microsoft.com", "graph%2Emicrosoft.com", "graph.microsoft.com\x00", "graph.microsoft.com\n",
		" graph.microsoft.com", "graph.microsoft.com ", "graph.microsoft.com\t", "graph\\.com", "a/b", "a?b", "a#b", "graph_x.example", "-x.example", "x-.example",
		"[graph.microsoft.com]", "[127.0.0.1]", "[::1", "::1", "[::1]x", "[fe80::1%25eth0]", "[::1]:", "graph.microsoft.com:", "graph.microsoft.com:0443", "graph.microsoft.com:+443",
		"graph.microsoft.com:65536", "graph.microsoft.com:0", "graph.microsoft.com:https", "graph.microsoft.com:443:443", "127.1", "0x7f000001", "0177.0.0.1", "2130706433", "x.1",
		"graph.microsoft.com..", "0\xa9", "b\xfccher.example", "bücher.example..", "bücher..example", "bücher.example。。", "xn--.example", "xn--zzzzz-\u00e9.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example",
	} {
		_, _, err := operation.Authority(in, "https")
		wantUninspectable(t, in, err)
	}
}

func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"graph.microsoft.com:443", "GRAPH.。com.", "[::1]:8080", "127.0.0.1", "x@y", "xn--bcher-kva.example", "a_b", "ﬁ.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, port, err := operation.Authority(in, "https")
		if err != nil {
			wantUninspectable(t, in, err)
			return
		}
		if host == "" || host != strings.ToLower(host) || strings.HasSuffix(host, ".") || strings.ContainsAny(host, "@%/\\ []\x00_") || port == "443" {
			t.Fatalf("Authority(%q) = %q, %q", in, host, port)
		}
		again := host
		if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
			again = "[" + host + "]"
		}
		if port != "" {
			again += ":" + port
		}
		host2, port2, err := operation.Authority(again, "https")
		if err != nil || host2 != host || port2 != port {
			t.Fatalf("Authority(%q) = %q, %q; again %q, %q, %v", in, host, port, host2, port2, err)
		}
	})
}
