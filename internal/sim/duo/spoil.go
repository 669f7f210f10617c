package duo

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strconv"
	"strings"
)

// fault finds out whether this call is to go wrong.
func (s *Server) fault(c call) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, _ := s.whoLocked(c)
	if sent := s.pushLocked(c.params.Get("txid")); p == nil && sent != nil {
		p = s.people[strings.ToLower(sent.Username)]
	}
	if p == nil {
		return nil
	}
	return p.fault(c.path)
}

const page = "<!doctype html><html><head><title>Service unavailable</title></head><body>Try again later.</body></html>"

func (s *Server) spoil(w http.ResponseWriter, r *http.Request, f Fault) {
	switch f.Kind {
	case Throttled:
		writeJSON(w, fail(42901, ""))
	case ServerError:
		writeJSON(w, fail(50000, ""))
	case BadGateway:
		write(w, http.StatusBadGateway, "text/html", page)
	case HTMLPage:
		write(w, http.StatusOK, "text/html", page)
	case Truncated:
		write(w, http.StatusOK, "application/json", `{"stat": "OK", "response": {"result": "allow", "status": "allow"`)
	case Reset:
		panic(http.ErrAbortHandler)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	case Huge:
		s.flood(w, r)
	case Redirect:
		w.Header().Set("Location", f.Body)
		w.WriteHeader(cmp.Or(f.Status, http.StatusTemporaryRedirect))
	case Raw:
		write(w, f.Status, "application/json", f.Body)
	default:
		writeJSON(w, fail(50000, ""))
	}
}

// flood writes an envelope that does not end.
func (s *Server) flood(w http.ResponseWriter, r *http.Request) {
	chunk := strings.Repeat(" ", 64<<10)
	_, err := io.WriteString(w, `{"stat": "OK", "response": `)
	for err == nil && r.Context().Err() == nil {
		select {
		case <-s.done:
			return
		default:
			_, err = io.WriteString(w, chunk)
		}
	}
}

func write(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the caller may have left
}

func writeJSON(w http.ResponseWriter, rep reply) {
	if rep.status == 0 {
		panic(http.ErrAbortHandler) // the caller left, or the server is closing
	}
	b, err := json.Marshal(rep.body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	write(w, rep.status, "application/json", string(b))
}

// newTxID makes a transaction id that looks like the service's: a random UUID.
// newDigits is a code to type: six digits, the first of which may be a zero.
func newDigits() string {
	n, _ := rand.Int(rand.Reader, big.NewInt(1_000_000)) // never fails
	return fmt.Sprintf("%06d", n)
}

func newTxID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
