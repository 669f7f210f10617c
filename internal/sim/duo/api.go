package duo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// call is one request, read and authenticated.
type call struct {
	path   string
	params url.Values
}

// reply is an answer before it is written, or spoilt.
type reply struct {
	status int
	body   any
}

func ok(response any) reply {
	return reply{http.StatusOK, map[string]any{"stat": "OK", "response": response}}
}

var messages = map[int]string{
	40001: "Missing required request parameters", 40002: "Invalid request parameters",
	40101: "Missing request credentials", 40102: "Invalid integration key in request credentials",
	40103: "Invalid signature in request credentials", 40104: "Missing request timestamp",
	40105: "Bad request timestamp", 40106: "Invalid Content-Type", 40401: "Resource not found",
	40501: "Method not allowed", 42901: "Too Many Requests", 50000: "Internal server error",
}

func fail(code int, detail string) reply {
	b := map[string]any{"stat": "FAIL", "code": code, "message": messages[code]}
	if detail != "" {
		b["message_detail"] = detail
	}
	return reply{code / 100, b}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	seen := Request{Method: r.Method, Path: r.URL.Path, ContentLength: r.ContentLength, At: s.now()}
	c, version, rep := s.read(r)
	seen.Params, seen.Signature = c.params, version
	var f *Fault
	if rep.status == 0 {
		f = s.fault(c)
		if f == nil || f.Sent {
			rep = s.route(r, c)
		}
	}
	if f == nil {
		seen.Status = rep.status
	}
	s.record(seen)
	if f != nil {
		s.spoil(w, r, *f)
		return
	}
	writeJSON(w, rep)
}

// read parses the parameters and checks the signature. A reply with a status is the refusal.
func (s *Server) read(r *http.Request) (call, string, reply) {
	c := call{path: r.URL.Path, params: r.URL.Query()}
	if strings.Contains(r.URL.RawQuery, ";") {
		return c, "", fail(40002, "query")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 1<<20))
	if err != nil {
		return c, "", fail(40002, "body")
	}
	if r.Method == http.MethodPost {
		switch mediaType(r) {
		case "application/x-www-form-urlencoded":
			c.params, err = url.ParseQuery(string(body))
		case "application/json":
			c.params, err = jsonParams(body)
		default:
			return c, "", fail(40106, "")
		}
		if err != nil {
			return c, "", fail(40002, "body")
		}
	}
	if c.path == "/auth/v2/ping" {
		return c, "", reply{}
	}
	version, code := s.authenticate(r, c.params, body)
	if code != 0 {
		return c, "", fail(code, "")
	}
	for k, vs := range c.params {
		if len(vs) > 1 {
			return c, version, fail(40002, k)
		}
	}
	return c, version, reply{}
}

func jsonParams(body []byte) (url.Values, error) {
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	v := url.Values{}
	for k, x := range m {
		v.Set(k, fmt.Sprint(x))
	}
	return v, nil
}

func (s *Server) route(r *http.Request, c call) reply {
	want := map[string]string{
		"/auth/v2/ping": http.MethodGet, "/auth/v2/check": http.MethodGet, "/auth/v2/preauth": http.MethodPost,
		"/auth/v2/auth": http.MethodPost, "/auth/v2/auth_status": http.MethodGet,
	}
	switch method, known := want[c.path]; {
	case !known:
		return fail(40401, "")
	case method != r.Method:
		return fail(40501, "")
	}
	switch c.path {
	case "/auth/v2/preauth":
		return s.preauth(c)
	case "/auth/v2/auth":
		return s.auth(r, c)
	case "/auth/v2/auth_status":
		return s.status(r, c)
	default:
		return ok(map[string]any{"time": s.now().Unix()})
	}
}

// whoLocked finds the person a call names, by exactly one of username and user_id.
func (s *Server) whoLocked(c call) (*person, reply) {
	name, id := c.params.Get("username"), c.params.Get("user_id")
	switch {
	case name == "" && id == "":
		return nil, fail(40001, "username")
	case name != "" && id != "":
		return nil, fail(40002, "username")
	case name != "":
		return s.people[strings.ToLower(name)], reply{}
	}
	for _, p := range s.people {
		if p.UserID == id {
			return p, reply{}
		}
	}
	return nil, fail(40002, "user_id")
}

func (s *Server) preauth(c call) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, bad := s.whoLocked(c)
	if bad.status != 0 {
		return bad
	}
	result := "enroll"
	if p != nil {
		result = p.script.Preauth
	}
	// The least strict account there is: any address or remembered device that a client names is trusted.
	if result == "" && (c.params.Get("ipaddr") != "" || c.params.Get("trusted_device_token") != "") {
		result = "allow"
	}
	switch result {
	case "":
	case "enroll":
		return ok(map[string]any{"result": "enroll", "status_msg": "Enroll an authentication device to proceed",
			"enroll_portal_url": "https://" + s.host + "/portal?code=simulated"})
	default:
		return ok(map[string]any{"result": result, "status_msg": "Account is " + result})
	}
	var devices []map[string]any
	for _, d := range p.Devices {
		caps := d.Capabilities
		if p.script.VerifiedPush && c.params.Get("client_supports_verified_push") != "1" {
			caps = slices.DeleteFunc(slices.Clone(caps), func(c string) bool { return c == "push" || c == "auto" })
		}
		devices = append(devices, map[string]any{"device": d.ID, "type": d.Type, "name": d.Name,
			"display_name": d.Name + " (" + d.Number + ")", "number": d.Number, "capabilities": caps})
	}
	out := map[string]any{"result": "auth", "status_msg": "Account is active", "devices": devices}
	if p.script.VerifiedPush && c.params.Get("client_supports_verified_push") == "1" {
		txid, c := newTxID(), code{username: p.Username, digits: newDigits(), expires: s.now().Add(s.lifetime)}
		s.codes[txid] = c
		out["txid"], out["verification_code"], out["expiration"] = txid, c.digits, c.expires.Unix()
	}
	return ok(out)
}

func (s *Server) auth(r *http.Request, c call) reply {
	s.mu.Lock()
	p, bad := s.whoLocked(c)
	if bad.status == 0 && (p == nil || p.script.Preauth != "") {
		bad = fail(40002, "username")
	}
	var device Device
	if bad.status == 0 {
		device, bad = s.chosenLocked(p, c)
	}
	info, err := parseInfo(c.params.Get("pushinfo"))
	if bad.status == 0 && err != nil {
		bad = fail(40002, "pushinfo")
	}
	if bad.status != 0 {
		s.mu.Unlock()
		return bad
	}
	now := s.now()
	verified := s.codes[c.params.Get("txid")]
	delete(s.codes, c.params.Get("txid"))
	sent := &push{script: p.script, code: verified.digits, userID: p.UserID, version: 1, Push: Push{
		TxID: newTxID(), Username: p.Username, Device: device.ID, Type: c.params.Get("type"),
		DisplayUsername: c.params.Get("display_username"), Info: info, SentAt: now, ExpiresAt: now.Add(s.lifetime),
		Result: "waiting", Status: "pushed", Verified: verified.digits != "",
	}}
	if p.script.PushFailed {
		sent.Status = "push_failed"
	}
	s.pushes = append(s.pushes, sent)
	s.wakeLocked()
	s.mu.Unlock()
	if c.params.Get("async") == "1" {
		return ok(map[string]any{"txid": sent.TxID})
	}
	for {
		if rep, final := s.poll(r, sent, s.lifetime); final || rep.status == 0 {
			return rep
		}
	}
}

// chosenLocked returns the device a push goes to.
func (s *Server) chosenLocked(p *person, c call) (Device, reply) {
	switch c.params.Get("factor") {
	case "":
		return Device{}, fail(40001, "factor")
	case "push", "auto":
	default:
		return Device{}, fail(40002, "factor") // the simulator has no passcodes, texts or calls
	}
	id := c.params.Get("device")
	if id == "" {
		return Device{}, fail(40001, "device")
	}
	txid := c.params.Get("txid")
	if p.script.VerifiedPush && txid == "" {
		return Device{}, fail(40001, "txid")
	}
	if given, ok := s.codes[txid]; txid != "" && (!ok || given.username != p.Username || !s.now().Before(given.expires)) {
		return Device{}, fail(40002, "txid")
	}
	for _, d := range p.Devices {
		if (id == "auto" || d.ID == id) && slices.Contains(d.Capabilities, "push") {
			return d, reply{}
		}
	}
	return Device{}, fail(40002, "device")
}

func (s *Server) status(r *http.Request, c call) reply {
	txid := c.params.Get("txid")
	if txid == "" {
		return fail(40001, "txid")
	}
	s.mu.Lock()
	p := s.pushLocked(txid)
	s.mu.Unlock()
	if p == nil {
		return fail(40002, "txid")
	}
	rep, _ := s.poll(r, p, s.longPoll)
	return rep
}

// poll answers with the push's state when that is news, final, or limit has passed.
func (s *Server) poll(r *http.Request, p *push, limit time.Duration) (rep reply, final bool) {
	end := time.NewTimer(limit)
	defer end.Stop()
	for last := false; ; {
		s.mu.Lock()
		s.settleLocked(p)
		early := p.quick < p.script.Waiting
		if early {
			p.quick++
			s.mu.Unlock()
			return ok(map[string]any{"result": "waiting", "status": "pushed", "status_msg": "Pushed a request to your device..."}), false
		}
		if p.final() || p.version > p.told || last {
			stale := last && !p.final() && p.version == p.told && p.script.PollEnds
			p.told = p.version
			body, final := p.answer(), p.final()
			s.mu.Unlock()
			if stale {
				return fail(40002, "txid"), false
			}
			return ok(body), final
		}
		changed, next := s.changed, time.NewTimer(s.nextLocked(p))
		s.mu.Unlock()
		select {
		case <-changed:
		case <-next.C:
		case <-end.C:
			last = true
		case <-r.Context().Done():
			next.Stop()
			return reply{}, true
		case <-s.done:
			next.Stop()
			return reply{}, true
		}
		next.Stop()
	}
}

func (p *push) answer() map[string]any {
	m := map[string]any{"result": p.Result, "status": p.Status, "status_msg": "Simulated: " + p.Status}
	if p.final() && p.script.UserID {
		m["user_id"] = p.userID
	}
	return m
}
