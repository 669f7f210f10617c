package e2e

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign/internal/sim/duo"
)

// As docs/operations.md says: one replica still seals with the old key, and the other already with the new one.
func TestAHoldOutlivesARotationOfTheLedgersKey(t *testing.T) {
	t.Parallel()
	old, next := rand.Text()+rand.Text(), rand.Text()+rand.Text()
	for name, tt := range map[string]struct {
		digestKey string
		code      string // of the same call at the other replica
		pushes    int
	}{
		"with the digest key kept":    {fmt.Sprintf(", digest_key: %q", old), "", 1},
		"with the digest key changed": {"", "verification_pending", 2}, // the control: the call's credential is opaque
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options{ledgerKey: old, ledger: fmt.Sprintf(", old_keys: [%q]", next) + tt.digestKey}
			a, b := startFleet(t, o, func(o *options, _ string) {
				o.extra = strings.ReplaceAll(o.extra, fmt.Sprintf("key: %q, old_keys: [%q]", old, next), fmt.Sprintf("key: %q, old_keys: [%q]", next, old))
			})
			if text, err := os.ReadFile(filepath.Join(b.dir, "sidecar.yaml")); err != nil || !strings.Contains(string(text), fmt.Sprintf("old_keys: [%q]", old)) {
				t.Fatalf("the second replica has the keys of the first one: %v", err)
			}
			a.duo.Add(duo.Person{Username: alice})
			opaque := []string{"Authorization", "Bearer opaque-token-of-the-agent", "Countersign-Wait", "0"}
			if got := a.reset(a.client(alice), opaque...); got.code() != "verification_pending" {
				t.Fatalf("answer = %d %s, want it pending", got.status, got.body)
			}
			tx := a.pushed(1)
			if tt.code == "" {
				if got := b.reset(b.client(alice), opaque...); got.code() != "verification_pending" {
					t.Fatalf("at the other replica: %d %s, want it pending", got.status, got.body)
				}
			}
			if err := a.duo.Answer(tx, "approve"); err != nil {
				t.Fatal(err)
			}
			got := b.until(b.client(alice), tt.code, opaque...)
			if tt.code == "" && got.status != http.StatusUnauthorized { // Graph's own: it knows no opaque tokens
				t.Errorf("answer = %d %s", got.status, got.body)
			}
			b.eventually("the pushes", func() bool { return len(b.duo.Pushes()) == tt.pushes })
		})
	}
}
