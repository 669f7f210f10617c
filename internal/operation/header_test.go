package operation_test

import (
	"testing"
)

func TestAMethodOverrideIsUninspectableWhereverItStands(t *testing.T) {
	p := newParser(t, 0)
	for _, name := range []string{
		"X-HTTP-Method-Override", "x-http-method-override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "X_HTTP_METHOD", "X-Http_Method-Override",
	} {
		_, err := p.Parse(request("POST", "/v1.0/users/x", "", name, "DELETE"))
		wantUninspectable(t, name, err)
	}
	for _, form := range []string{"a=b&_method=DELETE", "X-HTTP-Method-Override=PATCH", "%5fmethod=PATCH"} {
		_, err := p.Parse(request("POST", "/v1.0/users/x", form, "Content-Type", "application/x-www-form-urlencoded"))
		wantUninspectable(t, form, err)
	}
	_, err := p.Parse(request("POST", "/v1.0/users/x", "--b\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--b--\r\n", "Content-Type", "multipart/form-data; boundary=b"))
	wantUninspectable(t, "multipart field", err)
	for _, name := range []string{"X-Original-URL", "X-Rewrite-Url", "X_Original_URL"} {
		_, err := p.Parse(request("POST", "/v1.0/users/x", "", name, "/v1.0/me"))
		wantUninspectable(t, name, err)
	}
}

func TestHeadersThatTheNextHopReadsDifferentlyAreUninspectable(t *testing.T) {
	p := newParser(t, 0)
	for what, header := range map[string][]string{
		"two content types":             {"Content-Type", jsonType, "Content-Type", "text/plain"},
		"content types in two cases":    {"Content-Type", jsonType, "content-type", "text/plain"},
		"a list of content types":       {"Content-Type", jsonType + ", text/plain"},
		"no media type":                 {"Content-Type", "json"},
		"two charsets":                  {"Content-Type", jsonType + "; charset=utf-8; charset=utf-16"},
		"utf-16":                        {"Content-Type", jsonType + "; charset=utf-16"},
		"latin-1":                       {"Content-Type", jsonType + "; charset=\"ISO-8859-1\""},
		"two codings on two lines":      {"Content-Type", jsonType, "Content-Encoding", "gzip", "Content-Encoding", "gzip"},
		"two credentials":               {"Authorization", "Bearer a", "Authorization", "Bearer b"},
		"underscore content type":       {"Content-Type", jsonType, "Content_Type", "text/plain"},
		"underscore credentials":        {"Content-Type", jsonType, "Authorization_", "x", "X_Api_Key", "y"},
		"underscore of ours":            {"Content-Type", jsonType, "Countersign_Requester", "alice"},
		"underscore twin":               {"Content-Type", jsonType, "X-Tag", "a", "X_Tag", "b"},
		"a nominated header":            {"Content-Type", jsonType, "Connection", "close, Content-Type"},
		"two framings":                  {"Content-Type", jsonType, "Content-Length", "2", "Transfer-Encoding", "chunked"},
		"an unknown transfer encoding":  {"Content-Type", jsonType, "Transfer-Encoding", "xchunked"},
		"a stacked transfer encoding":   {"Content-Type", jsonType, "Transfer-Encoding", "gzip, chunked"},
		"a line break in a value":       {"Content-Type", jsonType, "X-Tag", "a\r\nX-HTTP-Method: DELETE"},
		"a name that is no token":       {"Content-Type", jsonType, "X Tag", "a"},
		"a Host that is not the target": {"Content-Type", jsonType, "Host", "graph.example:8443"},
	} {
		_, err := p.Parse(request("POST", "/v1.0/me/messages", "{}", header...))
		wantUninspectable(t, what, err)
	}
}

func TestOrdinaryHeadersPass(t *testing.T) {
	p := newParser(t, 0)
	for what, header := range map[string][]string{
		"charset":               {"Content-Type", "Application/JSON;odata.metadata=minimal; Charset=\"UTF-8\""},
		"same twice":            {"Content-Type", jsonType, "content-type", jsonType},
		"hop-by-hop":            {"Content-Type", jsonType, "Connection", "Keep-Alive, TE", "Keep-Alive", "timeout=5", "TE", "trailers"},
		"chunked":               {"Content-Type", jsonType, "Transfer-Encoding", "Chunked"},
		"Host":                  {"Content-Type", jsonType, "Host", "GRAPH.example:443"},
		"an underscore of none": {"Content-Type", jsonType, "X_Tag", "a"},
		"identity":              {"Content-Type", jsonType, "Content-Encoding", "Identity"},
	} {
		if _, err := p.Parse(request("POST", "/v1.0/me/messages", "{}", header...)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
