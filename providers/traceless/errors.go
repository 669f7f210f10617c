package traceless

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

var (
	// ErrUnknownAsk says that a challenge was requested and the answer to that request is lost or unusable: nobody can
	// know whether the phone rang. It is never asked again.
	ErrUnknownAsk = errors.New("traceless: unknown whether the person was asked")
	// ErrThrottled says that a rate limit of the service is used up.
	ErrThrottled = errors.New("traceless: rate limit reached")
	// ErrTransaction says that a transaction is not one that this package made, or that the service's id is not one.
	ErrTransaction = errors.New("traceless: malformed transaction")

	errMalformed = errors.New("answer is not one JSON object with the members expected")
	errStranger  = errors.New("answer is about another transaction, organization, person or method")
	errTooLarge  = errors.New("answer is too large")
	errTimeout   = errors.New("no answer in time")
	errBroken    = errors.New("connection broke or the answer was not HTTP")
)

// Error is an HTTP answer that is not the one asked for. It carries numbers only: texts and bodies stay out, because
// whatever stands in the way may have written them.
type Error struct {
	Call       string // start, poll, check
	Status     int    // HTTP
	RetryAfter time.Duration
}

// hints say what an administrator can do about a status.
var hints = map[int]string{
	http.StatusBadRequest:          "the request was refused: compare the templates with the API's description",
	http.StatusUnauthorized:        "credentials or signature were refused: check signing_secret, signing and the clock here",
	http.StatusForbidden:           "not allowed: check organization and signing_secret",
	http.StatusNotFound:            "not found: check endpoint, organization and the path template",
	http.StatusMethodNotAllowed:    "check the method of the template",
	http.StatusUnprocessableEntity: "the request was refused: compare the templates with the API's description",
	http.StatusTooManyRequests:     "the rate limit is used up",
}

func (e *Error) Error() string {
	if hint := hints[e.Status]; hint != "" {
		return fmt.Sprintf("traceless: %s: HTTP %d: %s", e.Call, e.Status, hint)
	}
	return fmt.Sprintf("traceless: %s: HTTP %d", e.Call, e.Status)
}

// Is makes a throttled Error match ErrThrottled.
func (e *Error) Is(target error) bool {
	return target == ErrThrottled && e.Status == http.StatusTooManyRequests
}

// transient says whether the same poll may go better later.
func (e *Error) transient() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	default:
		return e.Status >= 500
	}
}

// cause strips an error of net/http of everything that may hold a URL or a piece of an answer.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	for _, known := range []error{errTooLarge, context.Canceled, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errTimeout
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	return errBroken // %v would print what the other side sent: net/http quotes malformed answers
}
