package entra

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Code is the one-time code of everybody's app and text messages.
const Code = "246810"

const connectorPath = "/strongauthenticationservice.svc/connector/"

// connector answers for both Connector hosts.
func (s *Server) connector(w http.ResponseWriter, r *http.Request, body []byte) {
	path, ok := strings.CutPrefix(strings.ToLower(r.URL.Path), connectorPath)
	method := strings.TrimPrefix(path, "/") // much code in the field writes the slash twice
	handlers := map[string]func(*http.Request, []byte) (*element, error){
		"begintwowayauthentication": s.begin, "endtwowayauthentication": s.end, "getavailableauthenticationmethods": s.methods,
	}
	handle := handlers[method]
	switch {
	case !ok || handle == nil:
		writeHTML(w, http.StatusNotFound, "Endpoint not found.")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		writeHTML(w, http.StatusMethodNotAllowed, "Method not allowed.")
		return
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if kind = strings.ToLower(strings.TrimSpace(kind)); kind != "application/xml" && kind != "text/xml" {
		writeHTML(w, http.StatusBadRequest, "The body has an unexpected format.") // as WCF has it, not 415
		return
	}
	t, err := s.bearer(r.Header, append(s.connectorAudiences(), MFAConnectorID))
	if err != nil || !strings.EqualFold(t.text("appid"), MFAClientID) || !strings.EqualFold(t.text("tid"), s.o.TenantID) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answer, err := handle(r, body)
	switch {
	case err != nil:
		writeHTML(w, http.StatusBadRequest, "The server encountered an error processing the request. See server logs for more details.")
	case answer == nil: // the caller left
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", "application/xml; charset=utf-8")
		w.Header().Set("Cache-Control", "private")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(render(answer, spoilOf(r)))) // the caller may have left
	}
}

func writeHTML(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title>Request Error</title></head><body><p class="heading1">Request Error</p><p>%s</p></body></html>`, text)
}

// response starts an answer with what all have.
func response(name, value string) *element {
	retry := value == "AuthenticationPending" || value == "InternalError"
	return &element{name: name, attrs: ` xmlns:i="` + instanceNS + `"`, children: []*element{
		leaf("Version", "1"),
		{name: "Result", children: []*element{
			leaf("Value", value), nullable("Message", messages[value]), leaf("Retry", strconv.FormatBool(retry)),
			nullable("Error", ""), nullable("Exception", ""),
		}},
	}}
}

// result is AuthenticationResult, where "-" and "" are nil.
func result(text string) *element {
	return nullable("AuthenticationResult", strings.TrimPrefix(text, "-"))
}

// common checks what every request carries. It returns a value to answer at once, if any.
func (s *Server) common(m map[string]string, needs ...string) (string, error) {
	if v, ok := m["Version"]; ok {
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err != nil {
			return "", errContract
		}
		if n != 1 {
			return "VersionNotSupported", nil
		}
	} else {
		return "VersionNotSupported", nil // 0, the default
	}
	for _, name := range needs {
		if m[name] == "" {
			return "InvalidParameter", nil
		}
	}
	return "", nil
}

func (s *Server) begin(r *http.Request, body []byte) (*element, error) {
	const name = "BeginTwoWayAuthenticationResponse"
	m, err := readContract(body, "BeginTwoWayAuthenticationRequest", beginMembers)
	if err != nil {
		return nil, err
	}
	sync, err := boolean(m["SyncCall"])
	if err != nil {
		return nil, err
	}
	if _, err := boolean(m["RequireUserMatch"]); err != nil {
		return nil, err
	}
	value, err := s.common(m, "UserPrincipalName", "ContextId")
	if err != nil {
		return nil, err
	}
	if value == "" && !isGUID(m["ContextId"]) {
		value = "InvalidParameter"
	}
	if value != "" {
		return beginAnswer(r, s, name, value, "-", &session{Push: Push{UPN: m["UserPrincipalName"]}}), nil
	}
	s.mu.Lock()
	x, value, auth := s.openLocked(m, sync)
	s.mu.Unlock()
	if x.prompt && sync {
		if !s.waitSettled(r.Context(), x) {
			return nil, nil
		}
		s.mu.Lock()
		value, auth, x.done = x.Value, x.result, true
		s.mu.Unlock()
	}
	return beginAnswer(r, s, name, value, auth, x), nil
}

// openLocked decides what a well-formed Begin leads to: a prompt, a wait for a code, or a value at once.
func (s *Server) openLocked(m map[string]string, sync bool) (x *session, value, auth string) {
	x = &session{Push: Push{
		SessionID: newID(), ContextID: m["ContextId"], UPN: m["UserPrincipalName"], CallerName: m["CallerName"], Sync: sync, At: s.now(),
	}}
	p := s.personLocked(m["UserPrincipalName"])
	if p == nil || strings.EqualFold(p.ID, m["UserPrincipalName"]) {
		x.SessionID = ""
		return x, "UserNotFound", "false"
	}
	x.script = p.Script
	method := cmp.Or(m["AuthenticationMethodId"], p.Default)
	x.Method = method
	switch {
	case p.Script.Begin != "":
		value, auth = p.Script.Begin, cmp.Or(p.Script.BeginResult, "-")
	case p.Disabled:
		value, auth = "AccessDenied", "false"
	case p.blocked:
		value, auth = "UserIsBlocked", "false"
	case len(p.Methods) == 0:
		value, auth = "ProofDataNotFound", "false"
	case method == "":
		value, auth = "NoDefaultAuthenticationMethodIsConfigured", "false"
	case !slices.Contains(p.Methods, method):
		value, auth = "AuthenticationMethodNotConfigured", "false"
	case method == PhoneAppNotification, method == TwoWayVoiceMobile:
		x.prompt = true
		value, auth = "Success", cmp.Or(p.Script.BeginResult, "false")
	default:
		x.challenge = true
		value, auth = "Success", cmp.Or(p.Script.BeginResult, "challenge")
	}
	s.sessions[x.SessionID] = x
	s.order = append(s.order, x)
	s.wakeLocked()
	return x, value, auth
}

func beginAnswer(r *http.Request, s *Server, name, value, auth string, x *session) *element {
	e := response(name, value)
	affinity := ""
	if x.SessionID != "" {
		affinity = base(s.o.ConnectorURL, r) + "/StrongAuthenticationService.svc/Connector/EndTwoWayAuthentication"
	}
	e.children = append(e.children, nullable("SessionId", x.SessionID), result(auth), nullable("UserPrincipalName", x.UPN),
		nullable("AffinityUrl", affinity), leaf("ValidEntropyNumber", strconv.Itoa(x.script.Entropy)))
	return e
}

func (s *Server) end(_ *http.Request, body []byte) (*element, error) {
	const name = "EndTwoWayAuthenticationResponse"
	m, err := readContract(body, "EndTwoWayAuthenticationRequest", endMembers)
	if err != nil {
		return nil, err
	}
	value, err := s.common(m, "SessionId")
	if err != nil {
		return nil, err
	}
	auth := "-"
	if value == "" {
		s.mu.Lock()
		value, auth = s.pollLocked(m)
		s.mu.Unlock()
	}
	e := response(name, value)
	e.children = append(e.children, result(auth))
	return e, nil
}

func (s *Server) pollLocked(m map[string]string) (value, auth string) {
	x := s.sessions[strings.ToLower(strings.TrimSpace(m["SessionId"]))]
	switch upn := m["UserPrincipalName"]; {
	case x == nil, !s.now().Before(x.At.Add(s.o.SessionLifetime)), x.script.Once && x.done:
		return "InvalidSession", "false"
	case upn != "" && !strings.EqualFold(upn, x.UPN):
		return "InvalidParameter", "false"
	case x.challenge:
		return s.codeLocked(x, m["AdditionalAuthData"])
	case !x.prompt:
		return "InvalidSession", "false"
	}
	x.polls++
	if s.settleLocked(x); x.Value == "" {
		return "AuthenticationPending", "-"
	}
	if x.script.Pending > 0 {
		x.script.Pending--
		return "AuthenticationPending", "-"
	}
	x.done = true
	return x.Value, x.result
}

func (s *Server) codeLocked(x *session, code string) (value, auth string) {
	switch {
	case code == "":
		return "AuthenticationPending", "-"
	case x.done:
		return "OathCodeDuplicate", "false"
	case code != Code:
		return "OathCodeIncorrect", "false"
	}
	x.done = true
	s.setLocked(x, "Success", s.now())
	return "Success", "true"
}

func (s *Server) methods(_ *http.Request, body []byte) (*element, error) {
	const name = "GetAvailableAuthenticationMethodsResponse"
	m, err := readContract(body, "GetAvailableAuthenticationMethodsRequest", methodsMembers)
	if err != nil {
		return nil, err
	}
	value, err := s.common(m, "UserPrincipalName")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.personLocked(m["UserPrincipalName"])
	if value == "" {
		switch {
		case p == nil:
			value = "UserNotFound"
		case len(p.Methods) == 0:
			value = "ProofDataNotFound"
		default:
			value = "Success"
		}
	}
	e := response(name, value)
	list := &element{name: "AuthenticationMethods", null: value != "Success"}
	if value == "Success" {
		for _, id := range p.Methods {
			if id != Passkey {
				list.children = append(list.children, methodElement(id, id == p.Default))
			}
		}
	}
	e.children = append(e.children, list, nullable("UserPrincipalName", m["UserPrincipalName"]))
	return e, nil
}

func methodElement(id string, isDefault bool) *element {
	props := &element{name: "Properties", attrs: ` xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays"`}
	if id == OneWaySMS || id == TwoWayVoiceMobile {
		props.raw = `<a:KeyValueOfstringstring><a:Key>MobilePhone</a:Key><a:Value>+X XXXXXXXX00</a:Value></a:KeyValueOfstringstring>`
	}
	return &element{name: "AuthenticationMethod", children: []*element{leaf("Id", id), leaf("IsDefault", strconv.FormatBool(isDefault)), props}}
}

// boolean reads an xs:boolean; a member that is not there is false.
func boolean(text string) (bool, error) {
	switch strings.TrimSpace(text) {
	case "true", "1":
		return true, nil
	case "false", "0", "":
		return false, nil
	default:
		return false, errContract
	}
}

func isGUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range text {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return false
		}
	}
	return true
}
