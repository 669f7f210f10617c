package graph

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// DefaultContentSize is the size of a drive item whose id does not say another.
const DefaultContentSize = 1 << 20

// drives answers /drives/{drive}/items/{item}/content. The item "bytes-N" has N octets (those of Content), the item
// "events" is an event stream that Emit feeds. Graph itself answers with a redirect to a storage host, which is of no use
// to a test of what passes through a proxy: here the octets come at once.
func (s *Server) drives(c *call) (*answer, error) {
	if len(c.path) != 5 || c.at(2) != "items" || c.at(4) != "content" {
		return s.driveMetadata(c)
	}
	item := c.at(3)
	switch {
	case c.method == http.MethodPut:
		return &answer{status: http.StatusCreated, body: map[string]any{"id": item, "name": item, "size": len(c.body)}}, nil
	case c.method != http.MethodGet && c.method != http.MethodHead:
		return nil, notAllowed()
	case item == "events":
		return &answer{stream: s.streams.serve}, nil
	}
	size := int64(DefaultContentSize)
	if text, ok := strings.CutPrefix(item, "bytes-"); ok {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return nil, &odataError{status: http.StatusNotFound, code: "itemNotFound", message: "The resource could not be found."}
		}
		size = n
	}
	return &answer{stream: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("ETag", fmt.Sprintf(`"{%d},1"`, size))
		http.ServeContent(w, r, "", time.Time{}, Content(size))
	}}, nil
}

func (s *Server) driveMetadata(c *call) (*answer, error) {
	if c.method != http.MethodGet {
		return nil, notAllowed()
	}
	return &answer{status: http.StatusOK, body: map[string]any{"@odata.context": c.context("drives"), "id": c.path[len(c.path)-1]}}, nil
}

// Content returns the octets of a drive item of this size. They depend on their place, so that a missing, doubled or
// displaced piece shows.
func Content(size int64) io.ReadSeeker { return io.NewSectionReader(pattern{}, 0, size) }

type pattern struct{}

func (pattern) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		at := off + int64(i)
		p[i] = byte(at ^ at>>8 ^ at>>16) //nolint:gosec // the low octet is what is wanted
	}
	return len(p), nil
}

// streams feeds the event streams that are open.
type streams struct {
	mu    sync.Mutex
	open  map[chan string]struct{}
	ended bool
}

// Emit sends an event with these data to every open event stream and returns how many took it. It does not wait for their
// readers: a stream that is far behind misses it.
func (s *Server) Emit(data string) int {
	s.streams.mu.Lock()
	defer s.streams.mu.Unlock()
	taken := 0
	for ch := range s.streams.open {
		select {
		case ch <- data:
			taken++
		default:
		}
	}
	return taken
}

// EndStreams ends the event streams that are open, and what they answer.
func (s *Server) EndStreams() { s.streams.finish(false) }

func (t *streams) end() { t.finish(true) }

func (t *streams) finish(forGood bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = t.ended || forGood
	for ch := range t.open {
		close(ch)
		delete(t.open, ch)
	}
}

func (t *streams) serve(w http.ResponseWriter, r *http.Request) {
	ch := make(chan string, 1024)
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if t.open == nil {
		t.open = map[chan string]struct{}{}
	}
	t.open[ch] = struct{}{}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.open, ch)
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return
	}
	for {
		select {
		case data, more := <-ch:
			if !more {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil || flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
