package refusal

import (
	"maps"
	"net/http"
	"strconv"
)

// Names of the response headers made here.
const (
	HoldHeader        = "Countersign-Hold"
	ProxyStatusHeader = "Proxy-Status"
	// ProxyName is how we call ourselves in Proxy-Status (RFC 9209).
	ProxyName = "countersign"
)

// Answer is a refusal ready to be sent.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Write sends e and returns the status it sent.
func Write(w http.ResponseWriter, e *Error) int {
	a := Render(e)
	h := w.Header()
	for name, values := range a.Header {
		h[name] = values
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // the caller may be gone; the refusal is in the journal either way
	return a.Status
}

// Render makes the answer to e: the code's status, Proxy-Status, and a body shaped as the API's own errors, so
// that its SDK raises its ordinary exception with our sentence in it.
func Render(e *Error) Answer {
	f := e.shape()(e)
	h := http.Header{
		"Content-Type":   {f.contentType},
		"Content-Length": {strconv.Itoa(len(f.body))},
		// A refusal is about this attempt only.
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
		ProxyStatusHeader:        {ProxyName + "; error=" + e.Code.proxyError() + `; details="` + string(e.Code) + `"`},
	}
	maps.Copy(h, f.header)
	if e.Hold != "" {
		h[HoldHeader] = []string{e.Hold}
	}
	if s := e.Code.retryAfter(); s > 0 {
		h["Retry-After"] = []string{strconv.Itoa(s)}
	}
	return Answer{Status: e.Code.Status(), Header: h, Body: f.body}
}
