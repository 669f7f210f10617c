package app_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/app"
	"countersign/internal/audit"
	"countersign/internal/config"
)

// replayed asks a candidate about a journal.
func replayed(t *testing.T, events []audit.Event, candidate string) (app.Replayed, string) {
	t.Helper()
	var journal, out bytes.Buffer
	for _, e := range events {
		if err := json.NewEncoder(&journal).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "candidate.rego")
	if err := os.WriteFile(file, []byte(candidate), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := app.NewReplayer(config.Default(), app.ReplayOptions{Policy: []string{file}, All: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.Run(t.Context(), &journal, &out)
	if err != nil {
		t.Fatal(err)
	}
	return n, out.String()
}

// What a sidecar records has to be enough to decide as it did.
func TestTheJournalOfASidecarReplaysAsItWasDecided(t *testing.T) {
	_, _, events := sidecar(t, "package countersign.rules\n\nunused := 1", "bob", "enforced", "carol")
	if n, out := replayed(t, events, enforcedRule); n != (app.Replayed{Replayed: 3}) {
		t.Errorf("the same policy: %+v\n%s", n, out)
	}
	n, out := replayed(t, events, strings.ReplaceAll(enforcedRule, `"enforced"`, `"bob"`))
	if n != (app.Replayed{Replayed: 3, Changed: 2}) {
		t.Errorf("another policy: %+v\n%s", n, out)
	}
	n, out = replayed(t, events, strings.ReplaceAll(enforcedRule, `input.request.segments[2]`, `input.request.headers.accept[0]`))
	if n.Unknown != 3 || !strings.Contains(out, "reads input.request.headers, which the journal does not have") {
		t.Errorf("a policy that reads headers: %+v\n%s", n, out)
	}
}
