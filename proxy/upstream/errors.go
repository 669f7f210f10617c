package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// The kinds of failure to reach an upstream, for errors.Is.
var (
	// ErrAddressRefused means that the host's name leads to an address the guard does not let out.
	ErrAddressRefused = errors.New("address refused")
	// ErrUnreachable means that no answer could be had: no such name, no connection, no TLS, or a broken connection.
	ErrUnreachable = errors.New("unreachable")
	// ErrTimeout means that the upstream did not connect or answer in time.
	ErrTimeout = errors.New("timed out")
	// ErrUsed means that a Conn was asked to carry a second request.
	ErrUsed = errors.New("connection already used")
)

// reachError is an error of a known kind. Its text names the host and a reason from a closed list, and never the cause,
// which may hold addresses or headers; errors.As still finds it.
type reachError struct {
	kind  error
	host  string
	cause error
}

func (f *reachError) Error() string {
	text := "upstream " + f.host + ": " + f.kind.Error()
	if r := reason(f.cause); r != "" && f.kind == ErrUnreachable { //nolint:errorlint // our own sentinel, never wrapped here
		text += ": " + r
	}
	return text
}

func (f *reachError) Unwrap() []error { return []error{f.kind, f.cause} }

// fail gives err its kind. ctx is the caller's: its end explains an error better than the error does.
func fail(ctx context.Context, host string, err error) error {
	if f, ok := errors.AsType[*reachError](err); ok {
		return f
	}
	f := &reachError{kind: ErrUnreachable, host: host, cause: err}
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, ErrAddressRefused):
		f.kind = ErrAddressRefused
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, context.Canceled):
		f.kind = context.Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isNet && netErr.Timeout():
		f.kind = ErrTimeout
	}
	return f
}

// reason puts a cause into words that give nothing away.
func reason(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return "no such host"
		}
		return "name lookup failed"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate not trusted"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "answer is not TLS"
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return "TLS handshake refused"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	default:
		return ""
	}
}
