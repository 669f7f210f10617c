package refusal

import (
	"io"
	"net/http"
	"strconv"
)

// Accepted answers a caller that asked not to wait: the call is held, location is where its hold can be watched, and the
// same request sent again after the approval is let through. It is no success of the API's, and says so in Proxy-Status.
func Accepted(w http.ResponseWriter, hold, location string) {
	const body = `{"status":"pending"}` + "\n"
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Location", location)
	h.Set("Retry-After", "1")
	h.Set(HoldHeader, hold)
	h.Set(ProxyStatusHeader, ProxyName+`; details="`+string(Pending)+`"`)
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, body) // the caller may be gone; the hold goes on
}
