package operation_test

import (
	"slices"
	"testing"

	"countersign/internal/operation"
)

const rpcLike = `{"api": "rpc-like", "source": "test", "hosts": ["rpc.example"],
  "semantics": {"json_rpc": ["rpc"], "self_hosted": {"base/rpc": "rpc", "base": ""}, "uploads": ["files/*/content"], "slashed": ["files/*/names/*"]}, "secrets": ["token"],
  "entries": [
    {"name": "user.delete", "method": "ACTION", "path": "/rpc/user.delete", "category": "account_creation", "resource": "user", "params": {"user": "name"},
     "summary": "Delete {user}", "undone": "{user} was not deleted"},
    {"name": "user.list", "method": "ACTION", "path": "/rpc/user.list", "category": "read"},
    {"name": "file.write", "method": "PUT", "path": "/files/{file}/content", "category": "ordinary_write"}]}`

func TestEveryCallOfAJSONRPCBatchIsAnOperation(t *testing.T) {
	p := parserOf(t, rpcLike)
	post := func(body string) operation.Request {
		return at("rpc.example", "POST", "/rpc", body, "Content-Type", jsonType)
	}
	call := mustParse(t, p, post(`[{"jsonrpc":"2.0","id":1,"method":"user.list"},{"jsonrpc":"2.0","id":2,"method":"user.delete","params":{"name":"bob"}}]`))
	if got, want := names(call), []string{"user.list", "user.delete"}; !slices.Equal(got, want) || !call.Batch {
		t.Errorf("operations %q, batch %v, want %q", got, call.Batch, want)
	}
	if got := call.Inputs[1].Operation.Summary; got != "Delete bob" {
		t.Errorf("Summary = %q", got)
	}
	if call := mustParse(t, p, post(`{"jsonrpc":"2.0","id":1,"method":"user.delete"}`)); call.Batch || !call.Inputs[0].Operation.Sensitive {
		t.Errorf("one call: batch %v, operation %+v", call.Batch, call.Inputs[0].Operation)
	}
	for _, body := range []string{`[]`, `["user.list"]`, `{"id":1}`, `{"method":7}`, `{"method":"a/b"}`, `{"method":"user.list","also":"user.delete"}`, `[[{"method":"user.list"}]]`} {
		_, err := p.Parse(post(body))
		wantUninspectable(t, body, err)
	}
	_, err := p.Parse(at("rpc.example", "GET", "/rpc?method=user.delete", ""))
	wantUninspectable(t, "a GET", err)
}

func TestAnAPIIsKnownByItsPathOnAHostOfACustomer(t *testing.T) {
	p := parserOf(t, rpcLike, plainLike)
	call := mustParse(t, p, at("tools.acme.example", "POST", "/base/rpc", `{"method":"user.delete"}`, "Content-Type", jsonType))
	if call.API != "rpc-like" || call.Inputs[0].Operation.Name != "user.delete" {
		t.Errorf("API %q, operation %q", call.API, call.Inputs[0].Operation.Name)
	}
	if call := mustParse(t, p, at("tools.acme.example", "GET", "/other", "")); call.API != "" {
		t.Errorf("another path belongs to %q", call.API)
	}
	if call := mustParse(t, p, at("plain.example", "POST", "/base/rpc", `{"method":"user.delete"}`, "Content-Type", jsonType)); call.API != "plain" {
		t.Errorf("a host with an API of its own belongs to %q", call.API)
	}
}

func TestAnUploadIsNotReadAsItsContentTypeSays(t *testing.T) {
	p := parserOf(t, rpcLike)
	in := mustParse(t, p, at("rpc.example", "PUT", "/files/1/content", "{", "Content-Type", jsonType, "Content-Encoding", "x")).Inputs[0]
	if in.Operation.Name != "file.write" || in.Request.Body != nil || in.Request.BodyKind != "binary" {
		t.Errorf("operation %q, body %v (%s)", in.Operation.Name, in.Request.Body, in.Request.BodyKind)
	}
	_, err := p.Parse(at("rpc.example", "PUT", "/files/1/meta", "{", "Content-Type", jsonType))
	wantUninspectable(t, "beside the upload", err)
}

func TestASecretInAQueryIsMasked(t *testing.T) {
	in := mustParse(t, parserOf(t, rpcLike), at("rpc.example", "GET", "/x?token=hunter2&q=1", "")).Inputs[0]
	if got := in.Request.Query["token"]; len(got) != 1 || got[0] != "[secret]" || in.Request.Query["q"][0] != "1" {
		t.Errorf("Query = %v", in.Request.Query)
	}
}

func TestANameMayHaveAnEscapedSlashWhereTheAPISaysSo(t *testing.T) {
	p := parserOf(t, rpcLike)
	in := mustParse(t, p, at("rpc.example", "GET", "/files/1/names/feature%2Fx/y", "")).Inputs[0]
	if want := []string{"files", "1", "names", "feature/x", "y"}; !slices.Equal(in.Request.Segments, want) {
		t.Errorf("Segments = %q, want %q", in.Request.Segments, want)
	}
	for _, target := range []string{
		"/files/a%2Fb/names/x", "/files/1/names/x/a%2Fb", "/names/a%2Fb", "/files/1/names/..%2Fx", "/files/1/names/x%2F..", "/files/1/names/x%2F%2Fy",
		"/files/1/names/x%2F.%2Fy", "/files/1/names/%2Fx", "/files/1/names/x%5Cy", "/files/1/names/x%252Fy",
	} {
		_, err := p.Parse(at("rpc.example", "GET", target, ""))
		wantUninspectable(t, target, err)
	}
}
