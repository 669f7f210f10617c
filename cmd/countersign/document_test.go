package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// What docs/policy.md shows of the way of a new rule is what the script runs, and its output.
func TestTheDocumentShowsTheCommandsOfTheScript(t *testing.T) {
	script, err := txtar.ParseFile(filepath.Join("testdata", "script", "policy_worked.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "policy.md"))
	if err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{}
	for _, f := range script.Files {
		outputs[f.Name] = string(f.Data)
	}
	command, shown := "", 0
	for line := range strings.Lines(string(script.Comment)) {
		line = strings.TrimSpace(line)
		if c, ok := strings.CutPrefix(line, "exec "); ok {
			command = c
		}
		if name, ok := strings.CutPrefix(line, "cmp stdout "); ok {
			shown++
			if want := "$ " + command + "\n" + outputs[name] + "```"; !strings.Contains(string(doc), want) {
				t.Errorf("docs/policy.md does not show\n%s", want)
			}
		}
	}
	if shown != 4 {
		t.Errorf("%d commands, want four", shown)
	}
}
