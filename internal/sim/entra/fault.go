package entra

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is how an answer goes wrong. Kinds from spoil.go change the content of a Connector answer instead.
type Kind uint8

// The kinds of fault that any host may show. The zero value only delays.
const (
	Delayed     Kind = iota
	Hang             // no answer until the caller leaves
	Reset            // the connection ends without an answer
	Throttled        // HTTP 429 with Retry-After
	ServerError      // HTTP 500 in the host's own shape
	Unavailable      // HTTP 503 with Retry-After
	BadGateway       // HTTP 502 with a page of HTML
	HTMLPage         // HTTP 200 with a page of HTML, as a captive portal answers
	Truncated        // the true answer's first half, then the connection ends
	Cut              // the true answer's first half, as if it were all
	Empty            // HTTP 200 with no body
	Huge             // the true answer's first half, then a body that does not end
	Redirect         // HTTP Fault.Status, or 307, to Fault.Body
	Raw              // HTTP Fault.Status with Fault.Body
	Rewritten        // the true answer's body, changed by Fault.Rewrite
)

// Fault spoils calls.
type Fault struct {
	Host       Host
	Path       string // how the path ends, compared without case; "" is every path
	Who        string // who the call must name in its path or body; "" is anybody
	Kind       Kind
	Times      int           // 0: always
	Skip       int           // so many calls go well first
	Delay      time.Duration // before anything else; the person may answer meanwhile
	Sent       bool          // the call takes effect, and only its answer is spoilt
	RetryAfter time.Duration // of Throttled and Unavailable; 0: none is named
	Status     int           // of Raw and Redirect
	Header     http.Header   // added to Raw and Redirect
	Body       string        // of Raw and Redirect
	Rewrite    func([]byte) []byte
}

type armed struct {
	Fault
	met int
}

// Inject arms a fault. The first that matches a call spoils it.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &armed{Fault: f})
}

// ClearFaults disarms every fault.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) faultOf(h Host, r *http.Request, body []byte) *Fault {
	text, err := url.QueryUnescape(string(body))
	if err != nil {
		text = string(body)
	}
	text = strings.ToLower(r.URL.Path + "\n" + r.URL.RawQuery + "\n" + string(body) + "\n" + text)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Host != Any && f.Host != h || !strings.HasSuffix(strings.ToLower(r.URL.Path), strings.ToLower(f.Path)) || !strings.Contains(text, strings.ToLower(f.Who)) {
			continue
		}
		if f.met++; f.met > f.Skip && (f.Times == 0 || f.met <= f.Skip+f.Times) {
			out := f.Fault
			return &out
		}
	}
	return nil
}

type spoilKey struct{}

func spoilOf(r *http.Request) Kind {
	k, _ := r.Context().Value(spoilKey{}).(Kind)
	return k
}

const page = "<!doctype html><html><head><title>Service unavailable</title></head><body><p>Success</p><p>Try again later.</p></body></html>"

// faulty answers, or spoils the answer.
func (s *Server) faulty(h Host, w http.ResponseWriter, r *http.Request, body []byte, answer func(http.ResponseWriter, *http.Request, []byte)) {
	f := s.faultOf(h, r, body)
	if f == nil {
		answer(w, r, body)
		return
	}
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	if f.Kind == Delayed {
		answer(w, r, body)
		return
	}
	if f.Kind > Rewritten { // a spoiler of Connector content
		answer(w, r.WithContext(context.WithValue(r.Context(), spoilKey{}, f.Kind)), body)
		return
	}
	var kept held
	if f.Sent || slices.Contains([]Kind{Truncated, Cut, Huge, Rewritten}, f.Kind) {
		answer(&kept, r, body)
	}
	s.spoil(h, w, r, f, &kept)
}

// spoil gives the answer that f.Kind calls for, in the place of the one in kept.
func (s *Server) spoil(h Host, w http.ResponseWriter, r *http.Request, f *Fault, kept *held) {
	half := kept.body[:len(kept.body)/2]
	give := map[Kind]func(){
		Hang:        func() { <-r.Context().Done(); panic(http.ErrAbortHandler) },
		Reset:       func() { panic(http.ErrAbortHandler) },
		Throttled:   func() { s.fail(h, w, http.StatusTooManyRequests, f.RetryAfter) },
		ServerError: func() { s.fail(h, w, http.StatusInternalServerError, 0) },
		Unavailable: func() { s.fail(h, w, http.StatusServiceUnavailable, f.RetryAfter) },
		BadGateway:  func() { write(w, http.StatusBadGateway, "text/html", page) },
		HTMLPage:    func() { write(w, http.StatusOK, "text/html", page) },
		Truncated: func() {
			w.Header().Set("Content-Length", strconv.Itoa(len(kept.body)))
			kept.send(w, half)
			_ = http.NewResponseController(w).Flush() // the connection ends in any case
			panic(http.ErrAbortHandler)
		},
		Cut:   func() { kept.send(w, half) },
		Empty: func() { w.WriteHeader(http.StatusOK) },
		Huge:  func() { kept.send(w, half); flood(w, r) },
		Redirect: func() {
			w.Header().Set("Location", f.Body)
			w.WriteHeader(cmp.Or(f.Status, http.StatusTemporaryRedirect))
		},
		Raw: func() {
			maps.Copy(w.Header(), f.Header)
			write(w, cmp.Or(f.Status, http.StatusOK), cmp.Or(f.Header.Get("Content-Type"), kindOf(h)), f.Body)
		},
		Rewritten: func() { kept.send(w, f.Rewrite(kept.body)) },
	}[f.Kind]
	if give == nil {
		panic(http.ErrAbortHandler)
	}
	give()
}

// flood writes white space until the caller has had enough.
func flood(w http.ResponseWriter, r *http.Request) {
	chunk, err := strings.Repeat(" ", 64<<10), error(nil)
	for err == nil && r.Context().Err() == nil {
		_, err = io.WriteString(w, chunk)
	}
	panic(http.ErrAbortHandler)
}

func kindOf(h Host) string {
	if h == Connector {
		return "application/xml; charset=utf-8"
	}
	return typeJSON
}

// fail refuses in the host's own shape.
func (s *Server) fail(h Host, w http.ResponseWriter, status int, after time.Duration) {
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(after/time.Second)))
	}
	switch h {
	case Login:
		s.writeLoginError(w, refuse(status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."))
	case Graph:
		e := &odataError{status: status, code: "generalException", message: "An unexpected error has occurred."}
		switch status {
		case http.StatusTooManyRequests:
			e.code, e.message = "TooManyRequests", "Too many requests."
		case http.StatusServiceUnavailable:
			e.code, e.message = "serviceNotAvailable", "The service is temporarily unavailable."
		}
		s.writeOData(w, e)
	case Any, Connector:
		writeHTML(w, status, http.StatusText(status))
	}
}

func write(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the caller may have left
}

// held is an answer that is kept back.
type held struct {
	header http.Header
	status int
	body   []byte
}

func (h *held) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}

func (h *held) WriteHeader(status int) { h.status = cmp.Or(h.status, status) }

func (h *held) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	h.body = append(h.body, p...)
	return len(p), nil
}

func (h *held) send(w http.ResponseWriter, body []byte) {
	h.WriteHeader(http.StatusOK)
	maps.Copy(w.Header(), h.header)
	w.WriteHeader(h.status)
	_, _ = w.Write(body) // the caller may have left
}
