package graph

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const maxBatch = 20

// part is one request of a JSON batch.
type part struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

// batch answers $batch: each part in turn, as a call of its own under the same token.
func (s *Server) batch(c *call) (*answer, error) {
	if c.method != http.MethodPost {
		return nil, notAllowed()
	}
	if c.batched {
		return nil, badRequest("Batch requests cannot be nested.")
	}
	var in struct {
		Requests []part `json:"requests"`
	}
	if err := json.Unmarshal(c.body, &in); err != nil || len(in.Requests) == 0 {
		return nil, &odataError{status: http.StatusBadRequest, code: "BadRequest", message: "Invalid batch payload format."}
	}
	if len(in.Requests) > maxBatch {
		return nil, &odataError{status: http.StatusBadRequest, code: "BadRequest", message: "Number of batch request steps exceeds the maximum value of 20."}
	}
	statuses := map[string]int{}
	responses := []map[string]any{}
	for _, p := range in.Requests {
		if _, twice := statuses[p.ID]; twice || p.ID == "" {
			return nil, &odataError{status: http.StatusBadRequest, code: "BadRequest", message: "Request Id is null, empty or not unique."}
		}
		r := s.part(c, p, statuses)
		statuses[p.ID], _ = r["status"].(int)
		responses = append(responses, r)
	}
	return &answer{status: http.StatusOK, body: map[string]any{"responses": responses}}, nil
}

func (s *Server) part(c *call, p part, statuses map[string]int) map[string]any {
	a, err := s.runPart(c, p, statuses)
	if err == nil && a.stream != nil {
		err = badRequest("Streams cannot be read in a batch.")
	}
	if err != nil {
		e, ok := errors.AsType[*odataError](err)
		if !ok {
			e = &odataError{status: http.StatusInternalServerError, code: "generalException", message: err.Error()}
		}
		id := newID()
		return map[string]any{
			"id": p.ID, "status": e.status, "headers": map[string]string{"Content-Type": "application/json", "request-id": id}, "body": s.errorBody(e, id, id),
		}
	}
	headers := map[string]string{"Cache-Control": "no-cache"}
	for k, v := range a.header {
		headers[k] = v
	}
	out := map[string]any{"id": p.ID, "status": a.status, "headers": headers}
	if a.body != nil {
		headers["Content-Type"] = typeEntity
		out["body"] = a.body
	}
	return out
}

func (s *Server) runPart(c *call, p part, statuses map[string]int) (*answer, error) {
	if slices.ContainsFunc(p.DependsOn, func(id string) bool { return statuses[id] < 200 || statuses[id] > 299 }) {
		return nil, &odataError{status: http.StatusFailedDependency, code: "FailedDependency", message: "The request depends on a request that failed."}
	}
	u, err := url.Parse(p.URL)
	if err != nil || u.IsAbs() || u.Host != "" {
		return nil, badRequest("The url of a batch part must be relative.")
	}
	sub, err := newCall(strings.ToUpper(p.Method), "/"+c.version+"/"+strings.TrimPrefix(u.EscapedPath(), "/"), u.Query())
	if err != nil {
		return nil, err
	}
	sub.batched, sub.claims, sub.header = true, c.claims, http.Header{}
	for k, v := range p.Headers {
		sub.header.Set(k, v)
	}
	sub.body = p.Body
	if text := ""; json.Unmarshal(p.Body, &text) == nil && text != "" { // a body that is not JSON comes as base64
		if sub.body, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, badRequest("The body of a batch part is not base64.")
		}
	}
	if string(sub.body) == "null" {
		sub.body = nil
	}
	return s.dispatch(sub)
}
