package graph

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	typeEntity = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
	challenge  = `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`
)

// call is one Graph operation: a request of its own, or a part of a batch.
type call struct {
	method  string
	version string   // "v1.0" or "beta"
	path    []string // segments after the version, keys split off: users('x') is two
	query   url.Values
	header  http.Header
	body    []byte // decoded
	claims  claims
	batched bool
}

// answer is what an operation says. stream, if set, writes the answer by itself.
type answer struct {
	status int
	header map[string]string
	body   any
	stream http.HandlerFunc
}

// odataError is a refusal in Graph's shape.
type odataError struct {
	status        int
	code, message string
	challenge     bool
}

func (e *odataError) Error() string { return e.code + ": " + e.message }

func notFound(what string) error {
	return &odataError{status: http.StatusNotFound, code: "Request_ResourceNotFound", message: fmt.Sprintf(
		"Resource '%s' does not exist or one of its queried reference-property objects are not present.", what)}
}

func badRequest(message string) error {
	return &odataError{status: http.StatusBadRequest, code: "Request_BadRequest", message: message}
}

func noSegment(segment string) error {
	return &odataError{status: http.StatusBadRequest, code: "BadRequest", message: "Resource not found for the segment '" + segment + "'."}
}

func notAllowed() error {
	return &odataError{status: http.StatusMethodNotAllowed, code: "Request_BadRequest", message: "Specified HTTP method is not allowed for the request target."}
}

func unauthenticated(message string) error {
	return &odataError{status: http.StatusUnauthorized, code: "InvalidAuthenticationToken", message: message, challenge: true}
}

// graph answers for the Graph host.
func (s *Server) graph(w http.ResponseWriter, r *http.Request, raw []byte) {
	a, err := s.operation(r, raw)
	if err != nil {
		e, ok := errors.AsType[*odataError](err)
		if !ok {
			e = &odataError{status: http.StatusInternalServerError, code: "generalException", message: err.Error()}
		}
		s.writeError(w, r, e)
		return
	}
	s.stamp(w, r)
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.stream != nil {
		a.stream(w, r)
		return
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	writeJSON(w, a.status, typeEntity, a.body)
}

func (s *Server) operation(r *http.Request, raw []byte) (*answer, error) {
	cl, err := s.authenticate(r.Header)
	if err != nil {
		return nil, err
	}
	body, err := decode(r.Header.Get("Content-Encoding"), raw)
	if err != nil {
		return nil, err
	}
	c, err := newCall(r.Method, r.URL.EscapedPath(), r.URL.Query())
	if err != nil {
		return nil, err
	}
	c.header, c.body, c.claims = r.Header, body, cl
	return s.dispatch(c)
}

func newCall(method, escapedPath string, query url.Values) (*call, error) {
	c := &call{method: method, query: query}
	for seg := range strings.SplitSeq(strings.Trim(escapedPath, "/"), "/") {
		name, err := url.PathUnescape(seg)
		if err != nil {
			return nil, badRequest("The request URI is not valid.")
		}
		if c.version == "" {
			c.version = strings.ToLower(name)
			continue
		}
		// OData writes a key as users('id') or roles(roleTemplateId='id') as well as users/id.
		if open := strings.IndexByte(name, '('); open > 0 && strings.HasSuffix(name, ")") {
			key := name[open+1 : len(name)-1]
			if i := strings.Index(key, "='"); i >= 0 {
				key = key[i+1:]
			}
			c.path = append(c.path, name[:open])
			if key = strings.Trim(key, "'"); key != "" {
				c.path = append(c.path, strings.ReplaceAll(key, "''", "'"))
			}
			continue
		}
		c.path = append(c.path, name)
	}
	if c.version != "v1.0" && c.version != "beta" {
		return nil, &odataError{status: http.StatusBadRequest, code: "BadRequest", message: "Invalid version: " + c.version}
	}
	if len(c.path) == 0 {
		return nil, noSegment("")
	}
	return c, nil
}

func decode(encoding string, raw []byte) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return raw, nil
	case "gzip":
		zr, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, badRequest("The request body is not in the encoding that Content-Encoding names.")
		}
		out, err := io.ReadAll(io.LimitReader(zr, maxBody))
		if err != nil {
			return nil, badRequest("The request body is not in the encoding that Content-Encoding names.")
		}
		return out, nil
	default:
		return nil, &odataError{status: http.StatusUnsupportedMediaType, code: "UnsupportedMediaType", message: "Content-Encoding is not supported."}
	}
}

// object reads the call's body as one JSON object.
func (c *call) object() (map[string]any, error) {
	if len(c.body) == 0 {
		return nil, badRequest("Empty Payload. JSON content expected.")
	}
	var m map[string]any
	if err := json.Unmarshal(c.body, &m); err != nil || m == nil {
		return nil, badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	return m, nil
}

func (c *call) context(of string) string {
	return "https://" + hostGraph + "/" + c.version + "/$metadata#" + of
}

// at returns a path segment for comparison: lower-case, "" past the end.
func (c *call) at(i int) string {
	if i >= len(c.path) {
		return ""
	}
	return strings.ToLower(c.path[i])
}

// stamp sets what every answer of Graph carries.
func (s *Server) stamp(w http.ResponseWriter, r *http.Request) (requestID, clientID string) {
	h := w.Header()
	requestID = newID()
	clientID = r.Header.Get("client-request-id")
	if clientID == "" {
		clientID = requestID
	}
	h.Set("request-id", requestID)
	h.Set("client-request-id", clientID)
	h.Set("Cache-Control", "no-cache")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Sim","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"SIM0"}}`)
	return requestID, clientID
}

func (s *Server) writeError(w http.ResponseWriter, r *http.Request, e *odataError) {
	requestID, clientID := s.stamp(w, r)
	if e.challenge {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	writeJSON(w, e.status, "application/json", s.errorBody(e, requestID, clientID))
}

func (s *Server) errorBody(e *odataError, requestID, clientID string) map[string]any {
	return map[string]any{"error": map[string]any{
		"code": e.code, "message": e.message,
		"innerError": map[string]any{
			"date": s.now().UTC().Format("2006-01-02T15:04:05"), "request-id": requestID, "client-request-id": clientID,
		},
	}}
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "cannot encode answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client left; nobody is there to be told
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
