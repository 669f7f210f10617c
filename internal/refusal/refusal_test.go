package refusal_test

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/refusal"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (run with -update and review):\n%s", name, got)
	}
}

func TestASentenceClaimsOnlyWhatIsTrue(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    refusal.Error
		has  string
		not  string
	}{
		{"no sink, no claim", refusal.Error{Code: refusal.NotEnrolled}, "A technician must help", "notified"},
		{"a sink took it", refusal.Error{Code: refusal.NotEnrolled, Escalated: true}, "Technicians have been notified", "must help"},
		{"sent and lost", refusal.Error{Code: refusal.UpstreamUnreachable, Sent: true, Undone: "X was not reset"}, "not known whether", "was not reset"},
		{"not sent", refusal.Error{Code: refusal.UpstreamUnreachable, Undone: "X was not reset"}, "X was not reset", "not known"},
		{"a crash after redemption", refusal.Error{Code: refusal.OutcomeUnknown, Undone: "X was not reset"}, "not known whether", "was not reset"},
		{"the named minute is not refused again", refusal.Error{Code: refusal.BudgetExhausted, Until: time.Date(2026, 1, 2, 14, 4, 1, 0, time.UTC)}, "after 14:05 UTC on 2 January 2026", "14:04"},
		{"a block without end", refusal.Error{Code: refusal.BudgetExhausted}, "An operator must clear", "after"},
		{"a ceiling of the agent", refusal.Error{Code: refusal.BudgetExhausted, Detail: "this agent has started too many verifications", Until: time.Date(2026, 1, 2, 14, 5, 0, 0, time.UTC)}, "this agent has started too many verifications. Try again after 14:05 UTC", "too often"},
		{"a factor that would confirm its own change", refusal.Error{Code: refusal.NotEnrolled, Own: true, Requester: "kim@contoso.com"}, "A technician has to do it.", "notified"},
		{"the same, and a sink took it", refusal.Error{Code: refusal.NotEnrolled, Own: true, Escalated: true}, "A technician has to do it. Technicians have been notified.", "enrolled"},
		{"a page to answer on", refusal.Error{Code: refusal.Pending, Prompt: "https://a.example/p/1"}, "They confirm at https://a.example/p/1 . Send", "1."},
		{"direction characters are dropped", refusal.Error{Code: refusal.PolicyDenied, Undone: "a\u202eb\nc"}, "abc: ", "\u202e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.e.Sentence()
			if !strings.Contains(got, tt.has) || strings.Contains(got, tt.not) {
				t.Errorf("Sentence = %q, want it with %q and without %q", got, tt.has, tt.not)
			}
		})
	}
}

func TestAnErrorThatIsNoRefusalIsOurOwnFaultAndSaysNothing(t *testing.T) {
	w := httptest.NewRecorder()
	status := refusal.Write(w, refusal.From(fmt.Errorf("token eyJhbGciOi failed")))
	if status != http.StatusInternalServerError || strings.Contains(w.Body.String(), "eyJ") {
		t.Errorf("answer = %d %s, want 500 without the inner text", status, w.Body)
	}
	wrapped := fmt.Errorf("while forwarding: %w", &refusal.Error{Code: refusal.Draining})
	if got := refusal.From(wrapped).Code; got != refusal.Draining {
		t.Errorf("From(wrapped) = %s, want %s", got, refusal.Draining)
	}
}

func TestAnUnknownCodeIsNotForwardedAsSuccess(t *testing.T) {
	if got := refusal.Code("no_such_code").Status(); got != http.StatusInternalServerError {
		t.Errorf("Status = %d, want 500", got)
	}
}
