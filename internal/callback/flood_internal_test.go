package callback

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/providers"
)

// strict refuses every callback.
type strict struct{ providers.Caller }

func (strict) Callback(*http.Request, []byte) (string, error) { return "", providers.ErrCallback }

// A flood of callbacks is turned away before anybody looks at them: the polls find the answers all the same.
func TestAFloodOfCallbacksIsTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Callers: map[string]providers.Caller{"one": strict{}, "two": strict{}}, Wake: func(context.Context, string, string) {}})
		if err != nil {
			t.Fatal(err)
		}
		call := func(provider string) int {
			w := httptest.NewRecorder()
			s.mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/callbacks/"+provider, strings.NewReader("x")))
			return w.Code
		}
		for n := range burst {
			if code := call("one"); code != http.StatusUnauthorized {
				t.Fatalf("callback %d = %d", n, code)
			}
		}
		if code := call("one"); code != http.StatusTooManyRequests {
			t.Errorf("one more = %d, want 429", code)
		}
		if code := call("two"); code != http.StatusUnauthorized {
			t.Errorf("another provider's = %d: it has a rate of its own", code)
		}
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		if code := call("one"); code != http.StatusUnauthorized {
			t.Errorf("a second later = %d", code)
		}
	})
}
