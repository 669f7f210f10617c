package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"countersign/internal/operation"
	"countersign/internal/refusal"
	"countersign/proxy/upstream"
)

func (s *Server) pseudonym() string { return "countersign-" + s.o.Name }

// pass sends on a call that policy allows.
func (s *Server) pass(ctx context.Context, ex *exchange, w http.ResponseWriter) error {
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	resp, err := s.o.Upstream.RoundTrip(ex.request(traced)) //nolint:bodyclose // answer closes it
	if err != nil {
		return upstreamRefusal(ctx, err, sent.Load())
	}
	return ex.answer(w, resp)
}

// request is the call as it goes upstream: made anew, with the octets that were read, and without GetBody, by which a
// transport could send them twice.
func (ex *exchange) request(ctx context.Context) *http.Request {
	h := maps.Clone(ex.header)
	h["Via"] = append(slices.Clone(h["Via"]), "1.1 "+ex.s.pseudonym())
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // net/http would write its own
	}
	if ex.trailers {
		h["Te"] = []string{"trailers"}
	}
	if ex.call.FalseEncoding {
		delete(h, "Content-Encoding")
	}
	path, query, has := strings.Cut(ex.target, "?")
	r := &http.Request{
		Method: ex.method,
		// Opaque, so that the target is written as it was received and not as net/url would escape it.
		URL:    &url.URL{Scheme: "https", Host: ex.host, Opaque: path, RawQuery: query, ForceQuery: has},
		Host:   ex.host,
		Header: h,
		Proto:  "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody,
	}
	if len(ex.body) > 0 {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(ex.body)), int64(len(ex.body))
	}
	return r.WithContext(ctx)
}

// upstreamRefusal is the refusal of a call whose upstream did not answer.
func upstreamRefusal(ctx context.Context, err error, sent bool) error {
	switch {
	case errors.Is(err, upstream.ErrAddressRefused):
		return &refusal.Error{Code: refusal.DestinationDenied, Detail: "its name leads to an address that is not let out", Err: err}
	case errors.Is(err, upstream.ErrTimeout):
		return &refusal.Error{Code: refusal.UpstreamTimeout, Sent: sent, Err: err}
	case ctx.Err() != nil && !sent:
		return errors.Join(errGone, err)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return errors.Join(errGone, err)
	default:
		return &refusal.Error{Code: refusal.UpstreamUnreachable, Sent: sent, Err: err}
	}
}

func asUninspectable(err error) (*operation.Uninspectable, bool) {
	return errors.AsType[*operation.Uninspectable](err)
}

// answer streams the upstream's answer back.
func (ex *exchange) answer(w http.ResponseWriter, resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }() // it has been read, or is given up
	ex.upstream = resp.StatusCode
	if resp.StatusCode < 200 { // 101: it switched to a protocol nobody asked for
		return &refusal.Error{Code: refusal.UpstreamUnreachable, Sent: true, Err: errors.New("proxy: upstream switched protocols")}
	}
	h := w.Header()
	copyAnswer(h, resp.Header)
	h[refusal.ProxyStatusHeader] = append(slices.Clone(h[refusal.ProxyStatusHeader]),
		refusal.ProxyName+"; received-status="+strconv.Itoa(resp.StatusCode))
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // net/http would guess one
	}
	announced := announceTrailers(h, resp.Trailer)
	if announced > 0 {
		delete(h, "Content-Length") // HTTP/2 has both; HTTP/1.1 has trailers only after a chunked body
	}
	w.WriteHeader(resp.StatusCode)
	ex.wrote, ex.status = true, resp.StatusCode
	n, err := ex.stream(w, resp, announced > 0)
	ex.bytes = n
	if err != nil {
		// The caller has to see that the answer is not whole.
		panic(http.ErrAbortHandler)
	}
	copyTrailers(h, resp.Trailer, announced)
	return nil
}

// announceTrailers announces the trailer fields that upstream announced, and returns how many.
func announceTrailers(h, trailer http.Header) int {
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		if trailable(name) {
			names = append(names, name)
		}
	}
	if len(names) > 0 {
		h["Trailer"] = names
	}
	return len(names)
}

func copyTrailers(h, trailer http.Header, announced int) {
	passing := 0
	for name := range trailer {
		if trailable(name) {
			passing++
		}
	}
	for name, values := range trailer {
		if !trailable(name) {
			continue
		}
		if passing != announced { // some came unannounced
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

func trailable(name string) bool {
	return !hopByHop[name] && !isOurs(name) && name != refusal.ProxyStatusHeader
}
