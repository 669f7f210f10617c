package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"sync"
)

// copyBuffers holds the buffers of bodies on their way; with a new one per answer, collecting them is a third of the cost.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// stream copies an answer's body as it comes. What has no length, or is an event stream, is flushed after each read.
func (ex *exchange) stream(w http.ResponseWriter, resp *http.Response, trailers bool) (int64, error) {
	rc := http.NewResponseController(w)
	live := resp.ContentLength < 0 || isEventStream(resp.Header)
	if live || trailers { // trailers need the chunked coding, which a flush makes sure of
		if err := rc.Flush(); err != nil {
			ex.detail = "caller left"
			return 0, err
		}
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	var total int64
	for {
		n, readErr := resp.Body.Read(*buf)
		if n > 0 {
			m, err := w.Write((*buf)[:n])
			total += int64(m)
			if err == nil && live {
				err = rc.Flush()
			}
			if err != nil {
				ex.detail = "caller left"
				return total, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return total, nil
		}
		if readErr != nil {
			ex.detail = "upstream broke off"
			return total, readErr
		}
	}
}

func isEventStream(h http.Header) bool {
	t, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // an unknown type is not one
	return t == "text/event-stream"
}
