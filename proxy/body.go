package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"countersign/internal/refusal"
)

// maxFirst bounds what is allocated on the word of a Content-Length.
const maxFirst = 1 << 20

// readBody reads the whole body, up to the limit. Until it has been read, net/http does not notice that a caller leaves.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > s.o.MaxBody {
		return nil, &refusal.Error{Code: refusal.BodyTooLarge}
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return nil, fmt.Errorf("set deadline for the body: %w", err)
	}
	var buf bytes.Buffer
	buf.Grow(int(min(max(r.ContentLength, 0), maxFirst)) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, s.o.MaxBody+1)); err != nil {
		if bad, ok := errors.AsType[*refusal.Error](err); ok { // of the connection: see wireConn
			return nil, malformed(bad.Detail)
		}
		return nil, &refusal.Error{Code: refusal.MalformedRequest, Detail: "the body broke off or is malformed", Err: err}
	}
	if int64(buf.Len()) > s.o.MaxBody {
		return nil, &refusal.Error{Code: refusal.BodyTooLarge}
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("clear deadline for the body: %w", err)
	}
	for _, values := range r.Trailer {
		if len(values) > 0 {
			return nil, &refusal.Error{Code: refusal.Uninspectable, Detail: "the request has trailer fields"}
		}
	}
	return buf.Bytes(), nil
}
