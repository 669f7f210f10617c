package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const sinkSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of a receiver in this process

// told is one event as a receiver got it.
type told struct {
	Path string `json:"-"` // of the sink
	ID   string `json:"id"`
	Type string `json:"type"`
	Time time.Time
	Data struct {
		Hold, State, Reason, Requester, Ticket, Provider, Operation, Summary, Advice, URL, Code string
		ExpiresAt                                                                               time.Time `json:"expires_at"`
	}
	raw string
}

// sink receives signed webhooks and believes none whose signature is not good.
type sink struct {
	t   testing.TB
	url string

	mu      sync.Mutex
	refuse  int       // so many more deliveries are refused
	until   time.Time // and whatever comes before that
	refused []told
	events  []told
	news    chan struct{} // closed and renewed with each event
}

func startSink(t testing.TB, refuse int) *sink {
	s := &sink{t: t, refuse: refuse, news: make(chan struct{})}
	s.url = serveHTTP(t, s.ServeHTTP)
	return s
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender went away
	}
	e := told{Path: r.URL.Path, raw: string(body)}
	if !signedWell(r.Header, body) {
		s.t.Errorf("a webhook with a bad signature: %v %s", r.Header, body)
	}
	if err := json.Unmarshal(body, &e); err != nil || e.ID != r.Header.Get("Webhook-Id") {
		s.t.Errorf("a webhook that is no event: %v %v %s", err, r.Header, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 || time.Now().Before(s.until) {
		s.refuse = max(0, s.refuse-1)
		s.refused = append(s.refused, e)
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		s.events = append(s.events, e)
	}
	close(s.news)
	s.news = make(chan struct{})
}

// serveHTTP serves one handler until the test ends.
func serveHTTP(t testing.TB, h http.HandlerFunc) (address string) {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// signedWell verifies Standard Webhooks' signature as docs/notifications.md tells receivers to.
func signedWell(h http.Header, body []byte) bool {
	stamp, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(stamp, 0)).Abs() > 5*time.Minute {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sinkSecret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("Webhook-Id") + "." + h.Get("Webhook-Timestamp") + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.ContainsFunc(strings.Fields(h.Get("Webhook-Signature")), func(got string) bool { return hmac.Equal([]byte(got), []byte(want)) })
}

// await waits until n events of a type arrived, at whichever path, and returns the n-th.
func (s *sink) await(ctx context.Context, kind string, n int) told {
	s.t.Helper()
	for {
		s.mu.Lock()
		seen, news := 0, s.news
		for _, e := range s.events {
			if e.Type == kind {
				if seen++; seen == n {
					s.mu.Unlock()
					return e
				}
			}
		}
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			s.t.Fatalf("%d events %s arrived, want %d", seen, kind, n)
		}
	}
}

// awaitRefused waits until n deliveries were refused.
func (s *sink) awaitRefused(ctx context.Context, n int) []told {
	s.t.Helper()
	for {
		s.mu.Lock()
		refused, news := slices.Clone(s.refused), s.news
		s.mu.Unlock()
		if len(refused) >= n {
			return refused
		}
		select {
		case <-news:
		case <-ctx.Done():
			s.t.Fatalf("%d deliveries were refused, want %d", len(refused), n)
		}
	}
}

// recoverAt has the sink take what comes from then on.
func (s *sink) recoverAt(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse, s.until = 0, t
}

// all returns what arrived so far.
func (s *sink) all() []told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}
