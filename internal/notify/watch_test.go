package notify_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"countersign/internal/notify"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// watch passes on what happened of one kind.
func watch(to chan<- notify.Metric, kinds ...notify.Outcome) func(notify.Metric) {
	return func(m notify.Metric) {
		for _, k := range kinds {
			if m.Outcome == k {
				to <- m
			}
		}
	}
}

func await(t *testing.T, from <-chan notify.Metric) notify.Metric {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-t.Context().Done():
		t.Fatal("it never happened")
		return notify.Metric{}
	}
}

func serveMux(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
