package traceless

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const page = "<!doctype html><html><head><title>Service unavailable</title></head><body>Try again later.</body></html>"

// spoil answers a call that goes wrong.
func (s *Server) spoil(w http.ResponseWriter, r *http.Request, body []byte, f Fault, c *challenge) {
	const other = "00000000-0000-4000-8000-000000000000"
	approved := func(name, value string) reply {
		s.mu.Lock()
		defer s.mu.Unlock()
		view := s.view(c)
		view["status"] = "approved"
		view[name] = value
		return reply{http.StatusOK, view}
	}
	switch f.Kind {
	case Throttled:
		w.Header().Set("Retry-After", strconv.Itoa(int(f.Delay/time.Second)))
		s.answer(w, r, body, true, refuse(http.StatusTooManyRequests, "rate_limited"))
	case ServerError:
		s.answer(w, r, body, true, refuse(http.StatusInternalServerError, "internal_error"))
	case NotFound:
		s.answer(w, r, body, true, refuse(http.StatusNotFound, "transaction_not_found"))
	case WrongTransaction:
		s.answer(w, r, body, true, approved("transaction_id", other))
	case WrongOrganization:
		s.answer(w, r, body, true, approved("organization", other))
	case WrongEmail:
		s.answer(w, r, body, true, approved("email", "mallory@example.com"))
	case WrongMethod:
		s.answer(w, r, body, true, approved("method", "SMS"))
	case StillPending:
		s.answer(w, r, body, true, approved("status", pendingStatus))
	case Slow:
		s.slow(w, r, body, f, c)
	case BadGateway, HTMLPage, Truncated, Reset, Hang, Huge, Redirect, Raw, Duplicate:
		s.record(r, body, true, 0)
		s.spoilRaw(w, r, f, c)
	default:
		panic(http.ErrAbortHandler)
	}
}

// slow gives the answer of now, later.
func (s *Server) slow(w http.ResponseWriter, r *http.Request, body []byte, f Fault, c *challenge) {
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	case <-s.ctx.Done():
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	view := s.view(c)
	s.mu.Unlock()
	s.answer(w, r, body, true, reply{http.StatusOK, view})
}

// spoilRaw writes what is not the API's form.
func (s *Server) spoilRaw(w http.ResponseWriter, r *http.Request, f Fault, c *challenge) {
	fill := strings.NewReplacer("{transaction}", c.Transaction, "{organization}", s.organization, "{email}", c.Email)
	switch f.Kind {
	case BadGateway:
		write(w, http.StatusBadGateway, "text/html", page)
	case HTMLPage:
		write(w, http.StatusOK, "text/html", page)
	case Truncated:
		write(w, http.StatusOK, "application/json", fmt.Sprintf(`{"transaction_id":%q,"status":"approved"`, c.Transaction))
	case Duplicate:
		write(w, http.StatusOK, "application/json", fmt.Sprintf(`{"transaction_id":%q,"status":"pending","status":"approved"}`, c.Transaction))
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		panic(http.ErrAbortHandler)
	case Huge:
		s.flood(w, r)
	case Redirect:
		w.Header().Set("Location", fill.Replace(f.Body))
		w.WriteHeader(http.StatusTemporaryRedirect)
	case Raw:
		write(w, f.Status, "application/json", fill.Replace(f.Body))
	case Reset, Throttled, ServerError, Slow, NotFound, StillPending, WrongTransaction, WrongOrganization, WrongEmail, WrongMethod:
		panic(http.ErrAbortHandler)
	default:
		panic(http.ErrAbortHandler)
	}
}

// flood writes an object that does not end.
func (s *Server) flood(w http.ResponseWriter, r *http.Request) {
	chunk := strings.Repeat(" ", 64<<10)
	_, err := io.WriteString(w, `{"status":"approved",`)
	for err == nil && r.Context().Err() == nil && s.ctx.Err() == nil {
		_, err = io.WriteString(w, chunk)
	}
}
