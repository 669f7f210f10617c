package control

import (
	_ "embed"
	"net/http"
)

// openapiJSON describes every route here, as OpenAPI 3.1. A test compares it with what the routes answer.
//
//go:embed openapi.json
var openapiJSON []byte

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapiJSON) // the caller may be gone
}
