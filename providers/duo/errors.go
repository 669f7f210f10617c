package duo

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"
)

var (
	// ErrUnknownAsk says that a push was requested and the answer to that request is lost or unusable: nobody can know
	// whether the phone rang. It is never asked again.
	ErrUnknownAsk = errors.New("duo: unknown whether the person was asked")
	// ErrThrottled says that Duo's rate limit for the person or the application is used up.
	ErrThrottled = errors.New("duo: rate limit reached")
	// ErrTransaction says that a transaction id is not one of Duo's.
	ErrTransaction = errors.New("duo: malformed transaction id")

	errTooLarge = errors.New("answer is larger than any of Duo's")
	errTimeout  = errors.New("no answer in time")
	errBroken   = errors.New("connection broke or the answer was not HTTP")
)

// Error is an answer of Duo's that is not the one asked for. It carries numbers only: texts and bodies stay out, because
// whatever stands in the way may have written them.
type Error struct {
	Call       string        // preauth, auth, auth_status, check
	Status     int           // HTTP
	Code       int           // Duo's; 0 when the answer was not an envelope of Duo's
	RetryAfter time.Duration // with 429, where the answer says so
}

// hints say what an administrator can do about a code.
var hints = map[int]string{
	40001: "a parameter is missing", 40002: "a parameter was refused", 40101: "credentials are missing",
	40102: "the integration key is wrong for this host", 40103: "the signature was refused: check the secret key",
	40104: "the date is missing", 40105: "the clock here is off: synchronise it", 40106: "the content type was refused",
	40301: "the application is not of type Auth API", 42901: "the rate limit is used up",
}

func (e *Error) Error() string {
	switch hint := hints[e.Code]; {
	case e.Code == 0 && e.Status == 429:
		return fmt.Sprintf("duo: %s: HTTP 429", e.Call)
	case e.Code == 0:
		return fmt.Sprintf("duo: %s: HTTP %d, not an answer of Duo's", e.Call, e.Status)
	case hint == "":
		return fmt.Sprintf("duo: %s: HTTP %d, code %d", e.Call, e.Status, e.Code)
	default:
		return fmt.Sprintf("duo: %s: HTTP %d, code %d: %s", e.Call, e.Status, e.Code, hint)
	}
}

// Is makes a throttled Error match ErrThrottled.
func (e *Error) Is(target error) bool {
	return target == ErrThrottled && (e.Status == 429 || e.Code/100 == 429)
}

// transient says whether the same poll may go better later.
func (e *Error) transient() bool {
	switch {
	case e.Status == 429 || e.Code/100 == 429, e.Status >= 500:
		return true
	case e.Status == 200 && e.Code == 0: // cut short, or a page from something in between
		return true
	default:
		// The end of a long poll without news may look like this; so does a transaction that Duo does not know.
		return e.Code == 40002
	}
}

// cause strips an error of net/http of everything that may hold a URL or a piece of an answer.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
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
