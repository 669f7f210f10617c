package operation_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"countersign/internal/operation"
)

func TestEveryDisguiseOfAPathIsThePlainFormOrUninspectable(t *testing.T) {
	p := newParser(t, 0)
	same := map[string][]string{
		"users bob@contoso.com": {
			"/v1.0/users/bob@contoso.com", "/v1.0/users/bob%40contoso.com", "/v1.0/users/bob@contoso.com/", "/V1.0/users/bob@contoso.com",
			"/v1.0/users('bob@contoso.com')", "/v1.0/users(%27bob%40contoso.com%27)", "/v1.0/users%28'bob@contoso.com'%29", "/v1.0/users(bob@contoso.com)",
			"/v1.0/myorganization/users/bob@contoso.com", "/v1.0/MyOrganization/users/bob@contoso.com", "/v1.0/contoso.onmicrosoft.com/users/bob@contoso.com",
			"/v1.0/f982515f-8ada-480b-a0dd-a943d43db2f1/users/bob@contoso.com", "/v1.0/u%73ers/bob@contoso.com", "/v1.0/users/bob@contoso.com?/v1.0/me",
			"/v1.0/users/bob@contoso.com/microsoft.graph.user", "/v1.0/users('bob@contoso.com')/Microsoft.Graph.User", "/v1.0/users/microsoft.graph.user/bob@contoso.com",
		},
		"users o'brien@contoso.com":  {"/v1.0/users/o'brien@contoso.com", "/v1.0/users/o%27brien@contoso.com", "/v1.0/users('o''brien@contoso.com')"},
		"users a_b.c#EXT#@x.example": {"/v1.0/users/a_b.c%23EXT%23@x.example", "/v1.0/users('a_b.c%23EXT%23@x.example')"},
	}
	for want, targets := range same {
		for _, target := range targets {
			call, err := p.Parse(request("PATCH", target, `{"passwordProfile":{"password":"x"}}`))
			if err != nil {
				t.Errorf("%s: %v", target, err)
				continue
			}
			in := call.Inputs[0]
			if got := strings.Join(in.Request.Segments, " "); got != "v1.0 "+want {
				t.Errorf("%s: Segments = %q, want %q", target, got, "v1.0 "+want)
			}
			if in.Operation.Name != "user.password.reset" {
				t.Errorf("%s: Name = %q", target, in.Operation.Name)
			}
		}
	}
	for _, target := range []string{
		"//users/bob", "/v1.0//users/bob", "/v1.0/users//bob", "/v1.0/users/bob//", "/v1.0/me/../users/bob", "/v1.0/./users/bob", "/v1.0/me/%2e%2e/users/bob",
		"/v1.0/me/.%2E/users/bob", "/v1.0/.../bob", "/v1.0/users%2Fbob", "/v1.0/users%2fbob", "/v1.0/users%5Cbob", "/v1.0/users\\bob", "/v1.0/users;x=1/bob",
		"/v1.0/users%3Bx/bob", "/v1.0/users/bob%00", "/v1.0/users/bob%0a", "/v1.0/users/bob\t", "/v1.0/users/bob#/me", "/v1.0/us%2565rs/bob", "/v1.0/users/bob%252e",
		"/v1.0/users/%ff", "/v1.0/users/%c0%ae", "/v1.0/users/bob%", "/v1.0/users/bob%2", "/v1.0/users/bob%zz", "/v1.0/users/bob%20", "/v1.0/%20users/bob",
		"/v1.0/users /bob", "/v1.0/users/bob.", "/v1.0/users./bob", "/v1.0/users/bob%3F", "/v1.0/%EF%BD%95sers/bob", "/v1.0/u%C5%BFers/bob", "/v1.0/users/%E2%84%AAim",
		"/v1.0/users/b%E2%80%8Bob", "/v1.0/users/bob%E2%80%AE", "/v1.0/users/bob%EF%BC%8Fé", "/v1.0/users/é", "/v2.0/users/bob", "/users/bob", "/stagingbeta/users/bob",
		"/v1.0/users('bob'", "/v1.0/users('bob')x", "/v1.0/users'bob')", "/v1.0/('bob')", "/v1.0/users('bob'x)", "/v1.0/users('a'('b'))", "/v1.0/users('')", "/v1.0/users('a','b')",
		"/v1.0/users(@id)?@id='bob'", "/v1.0/items('x:')/invite", "/v1.0/users('..')", "/v1.0/users ('bob')", "/v1.0/users.('bob')", "/v1.0/beta/users/bob", "/v1.0/myorganization/v1.0/users/bob", "/v1.0/us%2565rs('bob')", "/v1.0/users(' bob')", "/v1.0/me/$batch", "/v1.0/users/%E3%80%80bob",
	} {
		_, err := p.Parse(request("PATCH", target, `{"passwordProfile":{"password":"x"}}`))
		wantUninspectable(t, target, err)
	}
}

func TestQualifiedActionsAndAlternateKeysReachTheCatalog(t *testing.T) {
	p := newParser(t, 0)
	for target, segments := range map[string]string{
		"/v1.0/applications/a1/addPassword":                                                 "v1.0 applications a1 addPassword",
		"/v1.0/applications/a1/microsoft.graph.addPassword":                                 "v1.0 applications a1 addPassword",
		"/v1.0/applications/a1/microsoft.graph.application/microsoft.graph.addPassword":     "v1.0 applications a1 addPassword",
		"/v1.0/applications/a1/microsoft.graph.addPassword()":                               "v1.0 applications a1 addPassword",
		"/v1.0/applications(appId='a1')/addPassword":                                        "v1.0 applications appId=a1 addPassword",
		"/v1.0/applications/appId=a1/addPassword":                                           "v1.0 applications appId=a1 addPassword",
		"/v1.0/applications/microsoft.graph.application/a1/MICROSOFT.graph.sub.addPassword": "v1.0 applications a1 addPassword",
	} {
		in := mustParse(t, p, request("POST", target, "")).Inputs[0]
		if got := strings.Join(in.Request.Segments, " "); got != segments {
			t.Errorf("%s: Segments = %q, want %q", target, got, segments)
		}
		if in.Operation.Name != "application.credential.add" {
			t.Errorf("%s: Operation = %+v", target, in.Operation)
		}
	}
}

func TestOrdinaryPathsPass(t *testing.T) {
	p := newParser(t, 0)
	for target, segments := range map[string]string{
		"/v1.0/me/messages/AAMkAGI2TAAA=/$value":                              "v1.0|me|messages|AAMkAGI2TAAA=|$value",
		"/v1.0/drives/b!-RIj2/items/01XYZ:/Q1%20(final).xlsx:/createLink":     "v1.0|drives|b!-RIj2|items|01XYZ:|Q1 (final).xlsx:|createLink",
		"/v1.0/me/drive/root:/a(b/c)d.txt:/content":                           "v1.0|me|drive|root:|a(b|c)d.txt:|content",
		"/v1.0/me/drive/root:/%E8%B3%87%E6%96%99%EF%BC%91.docx:/content":      "v1.0|me|drive|root:|資料１.docx:|content",
		"/v1.0/sites/contoso.sharepoint.com,2C71,2D22/lists":                  "v1.0|sites|contoso.sharepoint.com,2C71,2D22|lists",
		"/v1.0/teams/x/channels/19:abc@thread.tacv2/messages":                 "v1.0|teams|x|channels|19:abc@thread.tacv2|messages",
		"/v1.0/reports/getMailboxUsageDetail(period='D7')":                    "v1.0|reports|getMailboxUsageDetail|period=D7",
		"/v1.0/x/fn(a='b,c',d=['e','f'])":                                     "v1.0|x|fn|a=b,c,d=['e','f']",
		"/v1.0/me/drive/root:/microsoft.graph.user/a:/microsoft.graph.invite": "v1.0|me|drive|root:|microsoft.graph.user|a:|invite",
		"/v1.0/users/microsoft.graph.bob@contoso.com":                         "v1.0|users|microsoft.graph.bob@contoso.com",
		"/v1.0/groups/g/members/microsoft.graph.user/$count?$filter=a%20eq+b": "v1.0|groups|g|members|$count",
		"/beta/me/tasks/$100":                                                 "beta|me|tasks|$100",
		"/v1.0/":                                                              "v1.0",
		"/":                                                                   "",
	} {
		got := strings.Join(mustParse(t, p, request("GET", target, "")).Inputs[0].Request.Segments, "|")
		if got != segments {
			t.Errorf("%s: Segments = %q, want %q", target, got, segments)
		}
	}
}

func TestAnAPIWithoutKeysOrCaseKeepsItsSegments(t *testing.T) {
	r := request("POST", "/Things/a(b)/microsoft.graph.x", "")
	r.Host = "plain.example"
	in := mustParse(t, newParser(t, 0), r).Inputs[0]
	if !slices.Equal(in.Request.Segments, []string{"Things", "a(b)", "microsoft.graph.x"}) || in.Operation.Catalog != "unlisted" {
		t.Errorf("Segments = %q, Catalog = %q", in.Request.Segments, in.Operation.Catalog)
	}
}

func TestAQueryIsReadOnceAndOnlyOneWay(t *testing.T) {
	p := newParser(t, 0)
	in := mustParse(t, p, request("GET", "/v1.0/me?%24Filter=a%20eq+'b'&select=x&tag=1&Tag=2&&$expand=m($select=id;$top=5)", "")).Inputs[0]
	want := map[string][]string{"$filter": {"a eq 'b'"}, "$select": {"x"}, "tag": {"1", "2"}, "$expand": {"m($select=id;$top=5)"}}
	for name, values := range want {
		if got := in.Request.Query[name]; !slices.Equal(got, values) {
			t.Errorf("Query[%q] = %q, want %q", name, got, values)
		}
	}
	if len(in.Request.Query) != len(want) {
		t.Errorf("Query = %q", in.Request.Query)
	}
	for _, q := range []string{
		"$filter=a&$filter=b", "$filter=a&filter=b", "$filter=a eq 'b;c", "$filter=a%20eq%20'b';c", "$filter=a%20eq%20'b%27';c", "$Filter=a&$filter=b", "%24filter=a&$filter=b", "api-version=1&API-Version=2", "a=1;b=2", "a;b", "a=%zz", "a=%ff",
		"a=%00", "a=b#c", "_method=PATCH", "x-http-method-override=PATCH", "X-HTTP-Method=PATCH", "X_HTTP_Method_Override=PATCH", "%5Fmethod=DELETE", "a= b", "a=\u00e9",
	} {
		_, err := p.Parse(request("GET", "/v1.0/me?"+q, ""))
		wantUninspectable(t, q, err)
	}
	r := request("GET", "/x?a=m(b;c)", "")
	r.Host = "plain.example"
	_, err := p.Parse(r)
	wantUninspectable(t, "a semicolon in parentheses where there is no OData", err)
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v1.0/users/bob", "/v1.0/users('b''ob')/x", "/v1.0/a%20b/%E8%B3%87", "/v1.0/me/drive/root:/a(b:/c?x=1&y", "/v1.0/../x", "/v1.0/a%25b", "/v1.0/fn(a=1,b='c')"} {
		f.Add(s)
	}
	p := newParser(f, 0)
	f.Fuzz(func(t *testing.T, target string) {
		for _, host := range []string{"graph.example", "plain.example"} {
			checkPath(t, p, host, target)
		}
	})
}

// checkPath states what holds for every path that is accepted: no segment can be taken for another or for several,
// and the canonical form, escaped again, is read as itself.
func checkPath(t *testing.T, p *operation.Parser, host, target string) {
	r := request("GET", target, "")
	r.Host = host
	call, err := p.Parse(r)
	if err != nil {
		wantUninspectable(t, target, err)
		return
	}
	segments := call.Inputs[0].Request.Segments
	again := ""
	for i, s := range segments {
		if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00\r\n") {
			t.Fatalf("%q: segment %d is %q", target, i, s)
		}
		again += "/" + url.PathEscape(s)
	}
	if host != "plain.example" { // keys come out of their quotes, so only a form without syntax of its own is fixed
		return
	}
	if again == "" {
		again = "/"
	}
	r.Target = again
	second, err := p.Parse(r)
	if err != nil {
		t.Fatalf("%q: canonical form %q: %v", target, again, err)
	}
	if !slices.Equal(second.Inputs[0].Request.Segments, segments) {
		t.Fatalf("%q: canonical form %q is read as %q", target, segments, second.Inputs[0].Request.Segments)
	}
}
