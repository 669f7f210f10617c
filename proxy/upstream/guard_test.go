package upstream

import (
	"net/netip"
	"testing"
)

func TestGuardKnowsHowFarAnAddressReaches(t *testing.T) {
	for _, tt := range []struct {
		addr string
		want scope
	}{
		// Public, and the neighbours of every refused range.
		{"1.1.1.1", scopePublic}, {"20.190.128.1", scopePublic}, {"9.255.255.255", scopePublic}, {"11.0.0.0", scopePublic},
		{"100.63.255.255", scopePublic}, {"100.128.0.0", scopePublic}, {"126.255.255.255", scopePublic}, {"128.0.0.0", scopePublic},
		{"169.253.255.255", scopePublic}, {"169.255.0.0", scopePublic}, {"172.15.255.255", scopePublic}, {"172.32.0.0", scopePublic},
		{"192.0.1.0", scopePublic}, {"192.0.3.0", scopePublic}, {"192.167.255.255", scopePublic}, {"192.169.0.0", scopePublic},
		{"198.17.255.255", scopePublic}, {"198.20.0.0", scopePublic}, {"223.255.255.255", scopePublic}, {"168.63.129.17", scopePublic},
		{"2603:1026:3000::1", scopePublic}, {"2a00:1450::1", scopePublic}, {"3ffe::1", scopePublic}, {"2001:200::1", scopePublic},

		// Private: an operator may allow them.
		{"127.0.0.1", scopePrivate}, {"127.255.255.254", scopePrivate}, {"10.0.0.0", scopePrivate}, {"10.255.255.255", scopePrivate},
		{"172.16.0.0", scopePrivate}, {"172.31.255.255", scopePrivate}, {"192.168.0.0", scopePrivate}, {"192.168.255.255", scopePrivate},
		{"100.64.0.0", scopePrivate}, {"100.127.255.255", scopePrivate}, {"100.100.100.200", scopePrivate},
		{"::1", scopePrivate}, {"fc00::1", scopePrivate}, {"fdff:ffff::1", scopePrivate}, {"fd00:ec2::254", scopePrivate},

		// Never.
		{"0.0.0.0", scopeRefused}, {"0.255.255.255", scopeRefused}, {"169.254.169.254", scopeRefused}, {"169.254.0.0", scopeRefused},
		{"168.63.129.16", scopeRefused}, {"192.0.0.0", scopeRefused}, {"192.0.0.192", scopeRefused}, {"192.0.2.1", scopeRefused},
		{"198.51.100.255", scopeRefused}, {"203.0.113.7", scopeRefused}, {"192.88.99.1", scopeRefused}, {"198.18.0.0", scopeRefused},
		{"198.19.255.255", scopeRefused}, {"224.0.0.1", scopeRefused}, {"239.255.255.255", scopeRefused}, {"240.0.0.1", scopeRefused},
		{"255.255.255.255", scopeRefused},
		{"::", scopeRefused}, {"fe80::1", scopeRefused}, {"fe80::1%eth0", scopeRefused}, {"fec0::1", scopeRefused}, {"feff::1", scopeRefused},
		{"ff02::1", scopeRefused}, {"2001:db8::1", scopeRefused}, {"3fff::1", scopeRefused}, {"100::1", scopeRefused}, {"5f00::1", scopeRefused},
		{"4000::1", scopeRefused}, {"1fff::1", scopeRefused}, {"2001:10::1", scopeRefused}, {"2001:20::1", scopeRefused}, {"2001:2::1", scopeRefused},

		// IPv4 in IPv6 clothes.
		{"::ffff:127.0.0.1", scopePrivate}, {"::ffff:10.1.2.3", scopePrivate}, {"::ffff:169.254.169.254", scopeRefused}, {"::ffff:1.1.1.1", scopePublic},
		{"::ffff:0.0.0.0", scopeRefused}, {"::127.0.0.1", scopeRefused}, {"::1.1.1.1", scopeRefused},
		{"64:ff9b::7f00:1", scopePrivate}, {"64:ff9b::a01:203", scopePrivate}, {"64:ff9b::a9fe:a9fe", scopeRefused}, {"64:ff9b::101:101", scopePublic},
		{"64:ff9b::", scopeRefused}, {"64:ff9b:1::a00:1", scopeRefused}, {"64:ff9b:1::101:101", scopeRefused},
		{"2002:7f00:1::1", scopeRefused}, {"2002:a00:1::1", scopeRefused}, {"2002:a9fe:a9fe::1", scopeRefused},
		{"2001:0:4136:e378:8000:63bf:3fff:fdd2", scopeRefused}, {"2001::80ff:fffe", scopeRefused},
	} {
		if got := scopeOf(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("scopeOf(%s) = %d, want %d", tt.addr, got, tt.want)
		}
	}
	if scopeOf(netip.Addr{}) != scopeRefused {
		t.Error("the zero address is not refused")
	}
}

func TestOnlyPrivateAddressesNeedLeave(t *testing.T) {
	for _, tt := range []struct {
		addr              string
		without, withflag bool
	}{
		{"1.1.1.1", true, true},
		{"127.0.0.1", false, true},
		{"10.0.0.1", false, true},
		{"169.254.169.254", false, false},
		{"fe80::1", false, false},
	} {
		a := netip.MustParseAddr(tt.addr)
		if got := mayDial(a, false); got != tt.without {
			t.Errorf("mayDial(%s, false) = %t, want %t", tt.addr, got, tt.without)
		}
		if got := mayDial(a, true); got != tt.withflag {
			t.Errorf("mayDial(%s, true) = %t, want %t", tt.addr, got, tt.withflag)
		}
	}
}
