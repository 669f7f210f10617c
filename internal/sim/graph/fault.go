package graph

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is a misbehaviour that the next matching requests meet.
type Fault struct {
	Method string // "" matches all
	Path   string // a prefix of the request's path, compared without case; "" matches all
	Times  int    // how many requests meet it; 0 is one

	Delay      time.Duration // wait before the answer
	Status     int           // answer this instead: 429, 503, …
	RetryAfter time.Duration // Retry-After, in whole seconds, with Status
	// Reset breaks the connection instead of (or, with ResetAfter, during) the answer. The request takes effect first
	// when ResetAfter is not zero.
	Reset      bool
	ResetAfter int // octets of the answer's body to send before the break
}

// Inject arms f. Faults are met in the order in which they were armed.
func (s *Server) Inject(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// misbehave applies a fault to r, if one is armed. It returns what to answer to, nil when the answer is given already.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	f := s.fault(r)
	if f == nil {
		return w
	}
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return nil
		}
	}
	switch {
	case f.Reset && f.ResetAfter == 0:
		panic(http.ErrAbortHandler) // HTTP/1.1: the connection closes; HTTP/2: the stream is reset
	case f.Reset:
		return &breaking{ResponseWriter: w, left: f.ResetAfter}
	case f.Status != 0:
		s.throttle(w, r, f)
		return nil
	default:
		return w
	}
}

func (s *Server) fault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		path := strings.ToLower(r.URL.Path)
		if f.Times > 0 && (f.Method == "" || f.Method == r.Method) && strings.HasPrefix(path, strings.ToLower(f.Path)) {
			f.Times--
			met := *f
			return &met
		}
	}
	return nil
}

func (s *Server) throttle(w http.ResponseWriter, r *http.Request, f *Fault) {
	e := &odataError{status: f.Status, code: "UnknownError", message: http.StatusText(f.Status)}
	switch f.Status {
	case http.StatusTooManyRequests:
		e.code, e.message = "TooManyRequests", "Too many requests. Please retry after the time given in Retry-After."
	case http.StatusServiceUnavailable:
		e.code, e.message = "serviceNotAvailable", "The service is temporarily unavailable. Please try again later."
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	s.writeError(w, r, e)
}

// breaking breaks the connection after some octets of the answer.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) < b.left {
		b.left -= len(p)
		n, err := b.ResponseWriter.Write(p)
		if err != nil {
			err = fmt.Errorf("write: %w", err)
		}
		return n, err
	}
	_, _ = b.ResponseWriter.Write(p[:b.left])                // the connection breaks below in any case
	_ = http.NewResponseController(b.ResponseWriter).Flush() // likewise
	panic(http.ErrAbortHandler)
}

// ReadFrom hides the server's own, which would go round Write.
func (b *breaking) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{b}, r)
}

// Unwrap lets http.ResponseController find the connection.
func (b *breaking) Unwrap() http.ResponseWriter { return b.ResponseWriter }
