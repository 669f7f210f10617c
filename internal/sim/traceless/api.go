package traceless

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	signatureHeader = "X-Traceless-Signature"
	timestampHeader = "X-Traceless-Timestamp"
	maxBody         = 64 << 10
	maxSkew         = 5 * time.Minute
)

// reply is an answer before it is written.
type reply struct {
	status int
	body   any
}

func refuse(status int, code string) reply {
	return reply{status, map[string]string{"error": code}}
}

// serve takes one call: signature first, then the route, then whatever the script spoils.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.answer(w, r, body, false, refuse(http.StatusRequestEntityTooLarge, "too_large"))
		return
	}
	if code := s.checkSignature(r, body); code != "" {
		s.answer(w, r, body, false, refuse(http.StatusUnauthorized, code))
		return
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/"+s.organization+"/mfa")
	switch {
	case !ok:
		s.answer(w, r, body, true, refuse(http.StatusNotFound, "organization_not_found"))
	case rest == "" && r.Method == http.MethodPost:
		s.start(w, r, body)
	case strings.HasPrefix(rest, "/") && r.Method == http.MethodGet:
		s.poll(w, r, strings.TrimPrefix(rest, "/"))
	default:
		s.answer(w, r, body, true, refuse(http.StatusMethodNotAllowed, "method_not_allowed"))
	}
}

// checkSignature returns the error code of a request that is not signed as it has to be.
func (s *Server) checkSignature(r *http.Request, body []byte) string {
	stamps, signatures := r.Header[timestampHeader], r.Header[signatureHeader]
	if len(stamps) != 1 || len(signatures) != 1 {
		return "signature_missing"
	}
	text := stamps[0] + "\n" + r.Method + "\n" + r.RequestURI + "\n" + string(body)
	if !hmac.Equal([]byte(signatures[0]), []byte(hexMAC(s.secret, text))) {
		return "invalid_signature"
	}
	unix, err := strconv.ParseInt(stamps[0], 10, 64)
	if err != nil || s.now().Sub(time.Unix(unix, 0)).Abs() > maxSkew {
		return "timestamp_out_of_range"
	}
	return ""
}

func hexMAC(key, text string) string {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(h, text) // a hash takes everything
	return hex.EncodeToString(h.Sum(nil))
}

// start asks somebody.
func (s *Server) start(w http.ResponseWriter, r *http.Request, body []byte) {
	var q struct{ Email, Method, Message, Reference string }
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err := dec.Decode(&q); err != nil || dec.More() || kind != "application/json" || q.Email == "" ||
		(q.Method != "Microsoft Authenticator" && q.Method != "Duo Push") {
		s.answer(w, r, body, true, refuse(http.StatusUnprocessableEntity, "invalid_request"))
		return
	}
	s.mu.Lock()
	p := s.people[strings.ToLower(q.Email)]
	var f *Fault
	if p != nil {
		f = p.faultLocked(StartCall)
	}
	if f != nil && !f.Sent && f.Kind != Slow {
		s.mu.Unlock()
		s.spoil(w, r, body, *f, &challenge{Challenge: Challenge{Email: q.Email}})
		return
	}
	if p == nil || p.script.Refuse != "" {
		s.mu.Unlock()
		code := "user_not_found"
		if p != nil {
			code = p.script.Refuse
		}
		s.answer(w, r, body, true, refuse(http.StatusUnprocessableEntity, code))
		return
	}
	c := &challenge{script: p.script, Challenge: Challenge{
		Transaction: newUUID(), Email: q.Email, Method: q.Method, Message: q.Message, Reference: q.Reference,
		SentAt: s.now(), ExpiresAt: s.now().Add(s.lifetime), Status: pendingStatus,
	}}
	if p.script.Bypass {
		c.Status = "bypassed"
	}
	s.challenges = append(s.challenges, c)
	view := s.view(c)
	s.mu.Unlock()
	s.schedule(c.Transaction, p.script.Callbacks)
	if f != nil {
		s.spoil(w, r, body, *f, c)
		return
	}
	s.answer(w, r, body, true, reply{http.StatusCreated, view})
}

// poll tells how a challenge stands.
func (s *Server) poll(w http.ResponseWriter, r *http.Request, transaction string) {
	s.mu.Lock()
	c := s.challengeLocked(transaction)
	if c == nil {
		s.mu.Unlock()
		s.answer(w, r, nil, true, refuse(http.StatusNotFound, "transaction_not_found"))
		return
	}
	var f *Fault
	if p := s.people[strings.ToLower(c.Email)]; p != nil {
		f = p.faultLocked(PollCall)
	}
	s.settleLocked(c)
	view := s.view(c)
	s.mu.Unlock()
	if f != nil {
		s.spoil(w, r, nil, *f, c)
		return
	}
	s.answer(w, r, nil, true, reply{http.StatusOK, view})
}

func (s *Server) view(c *challenge) map[string]string {
	return map[string]string{
		"transaction_id": c.Transaction, "status": c.Status, "organization": s.organization, "email": c.Email, "method": c.Method,
	}
}

// answer records the call and writes the reply.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, body []byte, signed bool, rep reply) {
	b, err := json.Marshal(rep.body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.record(r, body, signed, rep.status)
	write(w, rep.status, "application/json", string(b))
}

func (s *Server) record(r *http.Request, body []byte, signed bool, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{
		Method: r.Method, Target: r.RequestURI, Header: r.Header.Clone(), Body: string(body), Signed: signed, Status: status,
	})
}

func write(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the caller may have left
}

// schedule sends the callbacks of a script in their time.
func (s *Server) schedule(transaction string, list []Callback) {
	if s.deliver == nil {
		return
	}
	for _, cb := range list {
		s.work.Go(func() {
			t := time.NewTimer(cb.After)
			defer t.Stop()
			select {
			case <-t.C:
				s.call(transaction, cb)
			case <-s.ctx.Done():
			}
		})
	}
}

// call sends one callback, as often as it says.
func (s *Server) call(transaction string, cb Callback) {
	header, body := s.CallbackFor(transaction, cb)
	for range max(cb.Times, 1) {
		s.deliver(s.ctx, header, body)
	}
}

// CallbackFor makes a callback about a challenge, signed with the time and the raw body, without sending it.
func (s *Server) CallbackFor(transaction string, cb Callback) (http.Header, []byte) {
	s.mu.Lock()
	status := ""
	if c := s.challengeLocked(transaction); c != nil {
		s.settleLocked(c)
		status = c.Status
	}
	s.mu.Unlock()
	body := cb.Body
	if body == "" {
		b, err := json.Marshal(map[string]string{
			"transaction_id": cmp.Or(cb.Transaction, transaction), "status": cmp.Or(cb.Status, status),
			"organization": cmp.Or(cb.Organization, s.organization),
		})
		if err != nil {
			panic(err) // strings always encode
		}
		body = string(b)
	}
	stamp := strconv.FormatInt(s.now().Add(cb.Skew).Unix(), 10)
	h := http.Header{}
	h.Set("Content-Type", "application/json")
	h.Set(timestampHeader, stamp)
	h.Set(signatureHeader, hexMAC(cmp.Or(cb.Key, s.secret), stamp+"."+body))
	return h, []byte(body)
}
