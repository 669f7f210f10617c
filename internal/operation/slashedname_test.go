package operation_test

import "testing"

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
