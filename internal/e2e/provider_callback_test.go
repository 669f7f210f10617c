package e2e

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/sim/traceless"
)

// A callback makes the sidecar look at once, and is believed in nothing: not even one with a good signature that claims an
// approval.
func TestACallbackWakesThePollAndApprovesNothing(t *testing.T) {
	t.Parallel()
	var base atomic.Value // of the public listener, once it is there
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	deliver := func(ctx context.Context, h http.Header, body []byte) {
		traceless.CallbackTo(client, base.Load().(string)+"/v1/callbacks/traceless")(ctx, h, body)
	}
	s := rehearse(t, players{traceless: traceless.Options{Deliver: deliver}})
	s.traceless.Add(alice, traceless.Script{}) // answered by hand
	s.open("providers: {traceless: " + strings.Replace(s.tracelessYAML(""), "interval: 1s", "interval: 1m", 1) + "}")
	base.Store("http://" + s.sidecar.Addr("callback"))

	if a := s.reset(s.client(alice), "Countersign-Wait", "0"); a.code() != "verification_pending" {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	polls := func() (n int) {
		for _, r := range s.traceless.Requests() {
			if r.Method == http.MethodGet && r.Signed {
				n++
			}
		}
		return n
	}
	s.await("the push", func() bool { return len(s.traceless.Challenges()) == 1 })
	tx := s.traceless.Challenges()[0].Transaction
	s.sink.await(t.Context(), "hold.started", 1)
	// Signed a little earlier, so that the true one is not the same octets again, which are ignored.
	early := traceless.Callback{Status: "approved", Skew: -30 * time.Second}
	for _, forged := range []traceless.Callback{{Status: "approved", Key: "another"}, early} {
		h, body := s.traceless.CallbackFor(tx, forged)
		before := polls()
		deliver(t.Context(), h, body)
		if forged.Key == "" {
			s.await("the poll after a callback", func() bool { return polls() > before })
		}
	}
	if a := s.until(s.client(alice), "verification_pending", "Countersign-Wait", "0"); s.sent() != 0 {
		t.Fatalf("answer = %d %s, sent %d times, and nobody approved", a.status, a.body, s.sent())
	}
	if err := s.traceless.Answer(tx, "approve"); err != nil { // it calls back; the next poll by itself is a minute away
		t.Fatal(err)
	}
	if a := s.until(s.client(alice), ""); a.status != http.StatusNoContent || s.sent() != 1 {
		t.Errorf("answer = %d %s, sent %d times", a.status, a.body, s.sent())
	}
}
