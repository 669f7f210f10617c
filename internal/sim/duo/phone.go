package duo

import (
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

//go:embed phone.html
var phonePage string

// Phone is the simulated phone: a page that shows pending pushes and answers them. It serves "/", "pushes",
// "events" and "answer" relative to wherever it is mounted (behind http.StripPrefix); "?person=" limits it to one
// person. Browsers of other sites cannot answer through it, but whoever can reach it can: keep it on loopback.
func (s *Server) Phone() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePhone)
	mux.HandleFunc("GET /pushes", s.listPushes)
	mux.HandleFunc("GET /events", s.streamPushes)
	mux.HandleFunc("POST /answer", s.takeAnswer)
	return http.NewCrossOriginProtection().Handler(mux)
}

func servePhone(w http.ResponseWriter, _ *http.Request) {
	nonce := rand.Text()
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", fmt.Sprintf("default-src 'none'; script-src 'nonce-%[1]s'; style-src 'nonce-%[1]s'; "+
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(strings.ReplaceAll(phonePage, "{{nonce}}", nonce))) // the browser may have left
}

// phoneView is what the page draws. Now lets it count down by the server's clock.
type phoneView struct {
	Now    time.Time `json:"now"`
	Pushes []Push    `json:"pushes"` // newest first: pending ones, and the last few that are settled
}

const phoneHistory = 5

func (s *Server) view(person string) phoneView {
	all := s.Pushes()
	v := phoneView{Now: s.now(), Pushes: []Push{}}
	settled := 0
	for i := len(all) - 1; i >= 0; i-- {
		p := all[i]
		if person != "" && !strings.EqualFold(person, p.Username) {
			continue
		}
		if p.Result != "waiting" {
			if settled++; settled > phoneHistory {
				continue
			}
		}
		v.Pushes = append(v.Pushes, p)
	}
	return v
}

func (s *Server) listPushes(w http.ResponseWriter, r *http.Request) {
	b, err := json.Marshal(s.view(r.URL.Query().Get("person")))
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	write(w, http.StatusOK, "application/json", string(b))
}

// streamPushes sends the view as Server-Sent Events, at each change and at each expiry.
func (s *Server) streamPushes(w http.ResponseWriter, r *http.Request) {
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{}) // a stream outlives a server's write time-out, where there is one
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for {
		s.mu.Lock()
		changed, next := s.changed, 15*time.Second // a heartbeat, so that a dead browser is noticed
		for _, p := range s.pushes {
			if s.settleLocked(p); !p.final() {
				next = min(next, s.nextLocked(p))
			}
		}
		s.mu.Unlock()
		b, err := json.Marshal(s.view(r.URL.Query().Get("person")))
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		wait := time.NewTimer(next)
		select {
		case <-changed:
		case <-wait.C:
		case <-r.Context().Done():
			wait.Stop()
			return
		case <-s.done:
			wait.Stop()
			return
		}
		wait.Stop()
	}
}

// takeAnswer settles a push: {"txid": "…", "answer": "approve" | "deny" | "fraud", "code": "…"}. Only JSON is taken, which a form on
// another site cannot send.
func (s *Server) takeAnswer(w http.ResponseWriter, r *http.Request) {
	if mediaType(r) != "application/json" {
		http.Error(w, "send application/json", http.StatusUnsupportedMediaType)
		return
	}
	var a struct{ TxID, Answer, Code string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&a); err != nil {
		http.Error(w, "send {\"txid\": …, \"answer\": …}", http.StatusBadRequest)
		return
	}
	switch err := s.AnswerCode(a.TxID, a.Answer, strings.TrimSpace(a.Code)); {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrCode):
		http.Error(w, "That is not the code of this request. Type the one that you were shown.", http.StatusForbidden)
	case errors.Is(err, ErrSettled):
		http.Error(w, "This request was answered or ran out already.", http.StatusConflict)
	default:
		http.Error(w, "no such request, or not an answer", http.StatusBadRequest)
	}
}
