package entra

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const typeEntity = "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"

// call is one Graph operation.
type call struct {
	method, version string
	path            []string // segments after the version; users('x') and users(appId='x') are two: users, x
	byKey           string   // the alternate key's name: appId
	query           url.Values
	body            []byte
	token           *jwt
	base            string
}

// odataError is a refusal in Graph's shape.
type odataError struct {
	status        int
	code, message string
}

func (e *odataError) Error() string { return e.code + ": " + e.message }

func notFound(what string) error {
	return &odataError{http.StatusNotFound, "Request_ResourceNotFound", fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", what)}
}

func badRequest(format string, a ...any) error {
	return &odataError{http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf(format, a...)}
}

func denied() error {
	return &odataError{http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."}
}

func noSegment(name string) error {
	return &odataError{http.StatusBadRequest, "BadRequest", "Resource not found for the segment '" + name + "'."}
}

func notAllowed() error {
	return &odataError{http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."}
}

// graph answers for the Graph host.
func (s *Server) graph(w http.ResponseWriter, r *http.Request, raw []byte) {
	status, body, err := s.operation(r, raw)
	if err != nil {
		e, ok := errors.AsType[*odataError](err)
		if !ok {
			e = &odataError{http.StatusInternalServerError, "generalException", err.Error()}
		}
		s.writeOData(w, e)
		return
	}
	s.stamp(w)
	if body == nil {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, typeEntity, body)
}

func (s *Server) stamp(w http.ResponseWriter) string {
	id := newID()
	w.Header().Set("request-id", id)
	w.Header().Set("client-request-id", id)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Sim","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"SIM0"}}`)
	return id
}

func (s *Server) writeOData(w http.ResponseWriter, e *odataError) {
	id := s.stamp(w)
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="`+GraphID+`"`)
	}
	writeJSON(w, e.status, "application/json", map[string]any{"error": map[string]any{
		"code": e.code, "message": e.message,
		"innerError": map[string]any{"date": s.now().UTC().Format("2006-01-02T15:04:05"), "request-id": id, "client-request-id": id},
	}})
}

func (s *Server) operation(r *http.Request, raw []byte) (int, any, error) {
	t, err := s.bearer(r.Header, s.graphAudiences())
	if err != nil {
		return 0, nil, &odataError{http.StatusUnauthorized, "InvalidAuthenticationToken", tokenProblem(err)}
	}
	if t.text("tid") != s.o.TenantID {
		return 0, nil, &odataError{http.StatusUnauthorized, "Authorization_IdentityNotFound", "The identity of the calling application could not be established."}
	}
	c, err := newCall(r)
	if err != nil {
		return 0, nil, err
	}
	c.token, c.base = t, base(s.o.GraphURL, r)
	if c.body, err = decode(r.Header.Get("Content-Encoding"), raw); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch strings.ToLower(c.path[0]) {
	case "users":
		return s.usersLocked(c)
	case "auditlogs":
		return s.auditLocked(c)
	case "serviceprincipals":
		return s.principalsLocked(c)
	case "oauth2permissiongrants":
		return s.grantsLocked(c)
	case "subscribedskus", "organization":
		return s.tenantLocked(c)
	default:
		return 0, nil, noSegment(c.path[0])
	}
}

func tokenProblem(err error) string {
	switch {
	case errors.Is(err, errNoToken):
		return "Access token is empty."
	case errors.Is(err, errExpired):
		return "Lifetime validation failed, the token is expired."
	case errors.Is(err, errForeign):
		return "Access token validation failure. Invalid audience."
	case errors.Is(err, errSignature):
		return "Access token validation failure. Invalid signature."
	default:
		return "IDX14100: JWT is not well formed, there are no dots (.)."
	}
}

func newCall(r *http.Request) (*call, error) {
	c := &call{method: r.Method, query: r.URL.Query()}
	for seg := range strings.SplitSeq(strings.Trim(r.URL.EscapedPath(), "/"), "/") {
		name, err := url.PathUnescape(seg)
		if err != nil {
			return nil, badRequest("The request URI is not valid.")
		}
		if c.version == "" {
			c.version = strings.ToLower(name)
			continue
		}
		open := strings.IndexByte(name, '(')
		if open <= 0 || !strings.HasSuffix(name, ")") {
			c.path = append(c.path, name)
			continue
		}
		key := name[open+1 : len(name)-1]
		if i := strings.Index(key, "="); i > 0 && strings.HasPrefix(key[i+1:], "'") {
			c.byKey, key = key[:i], key[i+1:]
		}
		c.path = append(c.path, name[:open], strings.ReplaceAll(strings.Trim(key, "'"), "''", "'"))
	}
	if c.version != "v1.0" && c.version != "beta" {
		return nil, &odataError{http.StatusBadRequest, "BadRequest", "Invalid version: " + c.version}
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
	case "gzip": // what Kiota's middleware sends
		zr, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, badRequest("The request body is not gzip.")
		}
		out, err := io.ReadAll(io.LimitReader(zr, maxBody))
		if err != nil {
			return nil, badRequest("The request body is not gzip.")
		}
		return out, nil
	default:
		return nil, &odataError{http.StatusUnsupportedMediaType, "UnsupportedMediaType", "Content-Encoding is not supported."}
	}
}

func (c *call) at(i int) string {
	if i >= len(c.path) {
		return ""
	}
	return strings.ToLower(c.path[i])
}

// may says whether the token has one of the permissions, as an application's role or as a delegated scope.
func (c *call) may(one ...string) bool {
	held := append(c.token.list("roles"), c.token.list("scp")...)
	return slices.ContainsFunc(one, func(p string) bool { return slices.Contains(held, p) })
}

func (c *call) context(of string) string { return c.base + "/" + c.version + "/$metadata#" + of }

func (c *call) read(into any) error {
	if len(c.body) == 0 {
		return badRequest("Empty Payload. JSON content expected.")
	}
	if err := json.Unmarshal(c.body, into); err != nil {
		return badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	return nil
}

// list filters, pages and trims a collection.
func (s *Server) list(c *call, name string, all []map[string]any) (int, any, error) {
	all, err := filter(all, c.query.Get("$filter"))
	if err != nil {
		return 0, nil, err
	}
	body := map[string]any{"@odata.context": c.context(name)}
	skip, _ := strconv.Atoi(c.query.Get("$skiptoken")) // absent or odd: the first page
	all = all[min(max(skip, 0), len(all)):]
	size := s.o.PageSize
	if text := c.query.Get("$top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 999 {
			return 0, nil, badRequest("Invalid page size specified: '%s'. Must be between 1 and 999 inclusive.", text)
		}
		size = min(n, size)
	}
	if len(all) > size {
		all = all[:size]
		next := url.Values{"$skiptoken": {strconv.Itoa(max(skip, 0) + size)}}
		for _, keep := range []string{"$filter", "$select", "$top"} {
			if v := c.query.Get(keep); v != "" {
				next.Set(keep, v)
			}
		}
		body["@odata.nextLink"] = c.base + "/" + c.version + "/" + strings.Join(c.path, "/") + "?" + next.Encode()
	}
	out := []map[string]any{}
	for _, e := range all {
		out = append(out, pick(e, c.query.Get("$select")))
	}
	body["value"] = out
	return http.StatusOK, body, nil
}

func (c *call) one(name string, e map[string]any) (int, any, error) {
	e = pick(e, c.query.Get("$select"))
	e["@odata.context"] = c.context(name + "/$entity")
	return http.StatusOK, e, nil
}

// pick keeps the properties that $select names, and annotations.
func pick(e map[string]any, names string) map[string]any {
	out := map[string]any{}
	wanted := strings.Split(names, ",")
	for k, v := range e {
		if names == "" || strings.HasPrefix(k, "@") || slices.ContainsFunc(wanted, func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), k) }) {
			out[k] = v
		}
	}
	return out
}
