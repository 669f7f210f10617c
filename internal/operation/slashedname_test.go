package operation_test

import "testing"

// A person writes ; into a search, and OData has it in quotes.
func TestASemicolonInsideQuotesOfODataIsText(t *testing.T) {
	p := shippedParser(t)
	for _, query := range []string{"$filter=subject%20eq%20'a;b'", "$filter=subject%20eq%20%27a;b%27", "$filter=a%20eq%20'x;%27%27;y'"} {
		if _, err := p.Parse(at("graph.microsoft.com", "GET", "/v1.0/me/messages?"+query, "")); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
	for _, query := range []string{"$filter=a%20eq%20'b';$select=credentials", "$filter=a%20eq%20'b;c", "a=';b"} {
		if _, err := p.Parse(at("graph.microsoft.com", "GET", "/v1.0/me/messages?"+query, "")); err == nil {
			t.Errorf("%s was read", query)
		}
	}
	if _, err := p.Parse(at("api.github.com", "GET", "/search/issues?q='a;b'", "")); err == nil {
		t.Error("quotes say nothing on an API that is not OData")
	}
}

// Octokit escapes the slashes of {ref} and {path}: git.getRef asks for git/ref/heads%2Ffeature%2Fx.
func TestNamesOfBranchesAndFilesKeepTheirEscapedSlashes(t *testing.T) {
	p := shippedParser(t)
	for _, target := range []string{
		"/repos/o/r/git/ref/heads%2Ffeature%2Fx", "/repos/o/r/git/ref/heads/feature%2Fx", "/repos/o/r/contents/docs%2Faccess.md?ref=main",
		"/repositories/7/git/matching-refs/tags%2Fv1", "/repos/o/r/branches/release%2F1/protection",
	} {
		if _, err := p.Parse(at("api.github.com", "GET", target, "")); err != nil {
			t.Errorf("GET %s: %v", target, err)
		}
	}
	wantName(t, p, at("api.github.com", "PUT", "/repos/o/r/branches/release%2F1/protection", `{}`, "Content-Type", jsonType), "branch.protection.change", true)
	for _, target := range []string{
		"/repos/o/r/git/refs/heads%2F..%2F..%2F..%2Fkeys", "/repos/o/r/contents/..%2Fkeys", "/repos/o%2Fr/keys", "/repos/o/r/contents/a%5Cb", "/repos/o/r/contents/%2Fa",
	} {
		if _, err := p.Parse(at("api.github.com", "POST", target, `{}`, "Content-Type", jsonType)); err == nil {
			t.Errorf("POST %s was read", target)
		}
	}
}
