package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/policy"
)

var update = flag.Bool("update", false, "write golden files anew")

// oneOfEach is an event of every kind, filled in as the sidecar fills it in.
func oneOfEach() []audit.Event {
	dig := policy.Digest{0xab}
	subject := &policy.Subject{Agent: "helpdesk-1", Ticket: "T-1042", Requester: policy.Requester{
		ID: "alice@contoso.com", Assurance: policy.AssuranceAttested, ObjectID: "0f3e", TenantID: "9c1d",
		Claims: map[string]any{"sub": "alice@contoso.com", "ticket": "T-1042"}}}
	op := policy.Operation{API: "microsoft-graph", Name: "user.password.reset", Category: "credential_reset", Catalog: "listed",
		Resource: policy.Resource{Type: "user", ID: "bob@contoso.com"}, Params: map[string]string{"user": "bob@contoso.com"}, Sensitive: true,
		Summary: "Reset the password of bob@contoso.com", Undone: "The password of bob@contoso.com was not reset",
		Batch: &policy.Batch{Index: 0, Size: 3}}
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	evidence := &policy.Evidence{Hold: "h1", Provider: "duo", Transaction: "tx1", Approver: policy.Approver{ID: "alice@contoso.com", ImmutableID: "DU1"},
		AMR: []string{"hwk"}, StartedAt: at, ApprovedAt: at.Add(9 * time.Second)}
	return []audit.Event{
		{Kind: audit.Started, Revision: "r1"},
		{Kind: audit.Policy, Revision: "r2", Code: "policy_unavailable", Warning: "last good policy stays"},
		{Kind: audit.Decision, Exchange: "e1", Listener: "proxy", Peer: "127.0.0.1:5", Method: "PATCH", Host: "graph.microsoft.com",
			Path: "/v1.0/users/bob@contoso.com", Subject: subject, JTI: "j1", Channel: "chat", Operations: []policy.Operation{op}, Digest: &dig,
			Effect: "step_up", Reasons: []policy.Reason{{Code: "credential_reset", Text: "Resets <credentials> & more"}}, Revision: "r1"},
		{Kind: audit.HoldOpened, Exchange: "e1", Hold: "h1", HoldKey: "k1", Digest: &dig, State: "pending"},
		{Kind: audit.HoldAsked, Hold: "h1", Provider: "duo", Transaction: "tx1"},
		{Kind: audit.HoldEnded, Hold: "h1", State: "approved", Provider: "duo", Evidence: evidence, Detail: "allow/allow"},
		{Kind: audit.Redeemed, Exchange: "e1", Hold: "h1", HoldKey: "k1", Digest: &dig},
		{Kind: audit.Completed, Exchange: "e1", Hold: "h1", Status: 204, Upstream: 204, Bytes: 12, Millis: 9100},
		{Kind: audit.Decision, Exchange: "e2", Method: "GET", Host: "evil.test", Path: "/\x1b[2J\u202e/a b=c", Effect: "deny", Code: "destination_not_allowed"},
		{Kind: audit.Completed, Exchange: "e2", Status: 403, Code: "destination_not_allowed", Shadow: true},
		{Kind: audit.Escalation, Hold: "h2", Code: "verification_not_enrolled"},
		{Kind: audit.Stopped},
	}
}

// journal writes every kind of record, the journal's own ones too, at a fixed time.
func journal(t *testing.T) string {
	t.Helper()
	path, now := pathIn(t), time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	j := open(t, audit.Options{Path: path, Now: clock})
	for _, e := range oneOfEach() {
		now = now.Add(1500 * time.Millisecond)
		if err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"seq":14,"pre`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_ = open(t, audit.Options{Path: path, Now: clock}).Close() // writes the recovered event
	return path
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, file); !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

func TestALineOfEachKindLooksLikeThis(t *testing.T) {
	lines := read(t, journal(t))
	// The chain id is random, and all hashes come from it.
	for pattern, mask := range map[string]string{`"chain":"[0-9a-f]{32}"`: `"chain":"CHAIN"`, `"prev":"[0-9a-f]{64}"`: `"prev":"PREV"`, `"hash":"[0-9a-f]{64}"`: `"hash":"HASH"`} {
		lines = regexp.MustCompile(pattern).ReplaceAll(lines, []byte(mask))
	}
	golden(t, "kinds.golden", lines)
}

func shown(t *testing.T, path string, o audit.ShowOptions) string {
	t.Helper()
	var out bytes.Buffer
	if err := audit.Show(t.Context(), bytes.NewReader(read(t, path)), &out, o); err != nil {
		t.Fatalf("Show: %v", err)
	}
	return out.String()
}

func TestShowPrintsOneLineARecord(t *testing.T) {
	out := shown(t, journal(t), audit.ShowOptions{})
	golden(t, "show.golden", []byte(out))
	for _, r := range out {
		if r != '\n' && (r < ' ' || r > '~') {
			t.Errorf("output has %U", r)
		}
	}
}

func TestShowFilters(t *testing.T) {
	path := journal(t)
	for name, c := range map[string]struct {
		o    audit.ShowOptions
		want int
	}{
		"exchange":          {audit.ShowOptions{Exchange: "e1"}, 4},
		"hold":              {audit.ShowOptions{Hold: "h1"}, 5},
		"kind":              {audit.ShowOptions{Kinds: []string{audit.Completed}}, 2},
		"kinds":             {audit.ShowOptions{Kinds: []string{audit.Completed, audit.Stopped}}, 3},
		"exchange and kind": {audit.ShowOptions{Exchange: "e2", Kinds: []string{audit.Completed}}, 1},
		"nothing":           {audit.ShowOptions{Hold: "none"}, 0},
	} {
		if got := strings.Count(shown(t, path, c.o), "\n"); got != c.want {
			t.Errorf("%s: %d lines, want %d", name, got, c.want)
		}
	}
}

func TestShowAsJSONKeepsTheMeaningAndSparesTheTerminal(t *testing.T) {
	path := journal(t)
	out := shown(t, path, audit.ShowOptions{JSON: true})
	if strings.ContainsRune(out, '\u202e') {
		t.Error("output has a character that turns the line around")
	}
	got, want := strings.Split(out, "\n"), strings.Split(string(read(t, path)), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i := range len(got) - 1 {
		var a, b any
		if err := errors.Join(json.Unmarshal([]byte(got[i]), &a), json.Unmarshal([]byte(want[i]), &b)); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("line %d means %v, want %v", i+1, a, b)
		}
	}
}

func TestShowPassesOverWhatIsNoRecord(t *testing.T) {
	lines := append([]byte("\x1b[2Jgarbage\n"), read(t, journal(t))...)
	var out bytes.Buffer
	err := audit.Show(t.Context(), bytes.NewReader(lines), &out, audit.ShowOptions{})
	if !errors.Is(err, audit.ErrBroken) {
		t.Errorf("Show = %v, want ErrBroken", err)
	}
	if got := out.String(); strings.Contains(got, "garbage") || strings.Count(got, "\n") != 14 {
		t.Errorf("Show printed:\n%s", got)
	}
}
