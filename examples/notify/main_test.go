package main

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The vector that Standard Webhooks publish.
const (
	vectorSecret    = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorStamp     = "1614265330"
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestAReceiverTakesWhatIsSignedAndFreshOnce(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1614265330, 0)
	for _, tt := range []struct {
		name string
		edit func(h http.Header, body *string, now *time.Time)
		want int
	}{
		{"the vector", func(http.Header, *string, *time.Time) {}, http.StatusNoContent},
		{"one of two signatures", func(h http.Header, _ *string, _ *time.Time) {
			h.Set("Webhook-Signature", "v1,AAAA "+vectorSignature)
		}, http.StatusNoContent},
		{"another body", func(_ http.Header, b *string, _ *time.Time) { *b += " " }, http.StatusUnauthorized},
		{"another id", func(h http.Header, _ *string, _ *time.Time) { h.Set("Webhook-Id", "msg_2") }, http.StatusUnauthorized},
		{"no signature", func(h http.Header, _ *string, _ *time.Time) { h.Del("Webhook-Signature") }, http.StatusUnauthorized},
		{"old", func(_ http.Header, _ *string, now *time.Time) { *now = at.Add(6 * time.Minute) }, http.StatusUnauthorized},
		{"of the future", func(_ http.Header, _ *string, now *time.Time) { *now = at.Add(-6 * time.Minute) }, http.StatusUnauthorized},
	} {
		h, body, now := http.Header{}, vectorBody, at
		h.Set("Webhook-Id", vectorID)
		h.Set("Webhook-Timestamp", vectorStamp)
		h.Set("Webhook-Signature", vectorSignature)
		tt.edit(h, &body, &now)
		var out bytes.Buffer
		v := &receiver{key: key, out: &out, now: func() time.Time { return now }}
		for range 2 {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
			r.Header = h
			w := httptest.NewRecorder()
			v.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s: %d, want %d", tt.name, w.Code, tt.want)
			}
		}
		if lines := strings.Count(out.String(), "\n"); (lines == 1) != (tt.want == http.StatusNoContent) {
			t.Errorf("%s: printed %q", tt.name, out.String())
		}
	}
}
