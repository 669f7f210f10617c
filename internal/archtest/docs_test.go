package archtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"countersign/internal/refusal"
)

func TestEveryRefusalCodeHasAPageThatNamesItsStatus(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "problems")
	codes := map[string]bool{"README": true}
	for _, c := range refusal.Codes() {
		codes[string(c)] = true
		page, err := os.ReadFile(filepath.Join(dir, string(c)+".md"))
		if err != nil {
			t.Error(err)
			continue
		}
		if want := "Status " + strconv.Itoa(c.Status()) + "."; !strings.Contains(string(page), want) {
			t.Errorf("docs/problems/%s.md does not say %q", c, want)
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if name := strings.TrimSuffix(filepath.Base(p), ".md"); !codes[name] {
			t.Errorf("docs/problems/%s.md is the page of no code", name)
		}
	}
}
