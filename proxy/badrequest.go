package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"

	"countersign/internal/refusal"
)

// malformed is a refusal of HTTP that cannot be read, or that two servers could read differently.
func malformed(why string) *refusal.Error {
	return &refusal.Error{Code: refusal.MalformedRequest, Detail: why}
}

// rejected answers in the place of net/http, which has found a request unfit before any handler saw it and would answer
// without a record and without Proxy-Status. It returns the answer's octets.
func (s *Server) rejected(c *wireConn) []byte {
	ex := s.begin(c.listener, c.RemoteAddr().String())
	defer ex.finish(context.Background())
	w := &rawWriter{header: http.Header{}}
	ex.refuse(context.Background(), w, malformed("the request is not well-formed HTTP"))
	return w.octets()
}

// rawWriter is a ResponseWriter for an answer that net/http does not write.
type rawWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

var _ http.ResponseWriter = (*rawWriter)(nil)

func (w *rawWriter) Header() http.Header         { return w.header }
func (w *rawWriter) WriteHeader(status int)      { w.status = status }
func (w *rawWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

func (w *rawWriter) octets() []byte {
	resp := &http.Response{
		StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: w.header, Close: true,
		Body: http.NoBody, ContentLength: int64(w.body.Len()),
	}
	var out bytes.Buffer
	if w.body.Len() > 0 {
		resp.Body = io.NopCloser(&w.body)
	}
	_ = resp.Write(&out) // into memory
	return out.Bytes()
}

// h2Rejected records the requests that net/http refuses by resetting their HTTP/2 stream, before any handler sees them. It is
// told of other mishaps too, which belong to requests that are recorded, or to none.
func (s *Server) h2Rejected(kind string) {
	kind, ok := strings.CutPrefix(kind, "stream_PROTOCOL_ERROR_")
	if !ok || !slices.Contains([]string{"bad_connect", "bad_path", "bad_path_method", "userinfo_in_authority"}, kind) {
		return
	}
	ex := s.begin(listenerProxy, "")
	defer ex.finish(context.Background())
	ex.code, ex.detail = refusal.MalformedRequest, "HTTP/2 stream reset"
	if err := ex.recordRefusal(context.Background()); err != nil {
		s.o.Logger.Error("refusal not recorded", "exchange", ex.id, "error", err)
	}
}
