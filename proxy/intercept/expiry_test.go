package intercept

import (
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLeavesAreNotBornExpiring(t *testing.T) {
	// certmagic: less than 5 check intervals left, or in the last third of its life.
	if left := leafLifetime - 5*renewCheck; left < 24*time.Hour {
		t.Errorf("a new leaf is %v from renewal", left)
	}
	if whole := leafLifetime + backdate; leafLifetime < whole/2 {
		t.Errorf("a new leaf has %v of %v left", leafLifetime, whole)
	}
}

func TestACAThatExpiresMeanwhileFailsAtOnce(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	ca, err := LoadOrCreateCA(t.TempDir(), func() time.Time { mu.Lock(); defer mu.Unlock(); return now })
	if err != nil {
		t.Fatal(err)
	}
	i, err := New(ca, Options{Admit: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	mu.Lock()
	now = now.AddDate(20, 0, 0)
	mu.Unlock()
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	go func() {
		_ = tls.Client(here, &tls.Config{ServerName: "graph.microsoft.com", MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context()) // it fails
		_ = here.Close()
	}()
	start := time.Now()
	_, err = i.Handshake(t.Context(), there, "graph.microsoft.com")
	if err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v, want an expired CA", err)
	}
	if took := time.Since(start); took > handshakeTimeout/2 {
		t.Errorf("it took %v to fail", took)
	}
}

func TestMemoryForgetsTheOldest(t *testing.T) {
	m := newMemory(1) // three keys
	for _, k := range []string{"a/1", "a/2", "b/1", "b/2"} {
		if err := m.Store(t.Context(), k, []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	if m.Exists(t.Context(), "a/1") || !m.Exists(t.Context(), "a") || !m.Exists(t.Context(), "b/2") {
		t.Error("not the oldest was forgotten")
	}
	if keys, err := m.List(t.Context(), "", false); err != nil || len(keys) != 2 {
		t.Errorf("List = %v, %v", keys, err)
	}
	if err := m.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if m.Exists(t.Context(), "b") {
		t.Error("b is still there")
	}
	for _, k := range []string{"c/1", "c/2"} {
		if err := m.Store(t.Context(), k, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !m.Exists(t.Context(), "a/2") || !m.Exists(t.Context(), "c/2") {
		t.Error("deleted keys still count")
	}
}
