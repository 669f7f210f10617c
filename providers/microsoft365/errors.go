package microsoft365

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
	ErrUnknownAsk = errors.New("microsoft365: unknown whether the person was asked")
	// ErrTransaction says that a transaction is not one that Start returned.
	ErrTransaction = errors.New("microsoft365: malformed transaction")

	errTooLarge  = errors.New("answer is larger than any of Microsoft's")
	errTimeout   = errors.New("no answer in time")
	errBroken    = errors.New("connection broke or the answer was not HTTP")
	errMalformed = errors.New("not an answer of Graph's")
)

// Error is an answer of Microsoft's that is not the one asked for. It carries a status and a code only: texts and bodies
// stay out, because they may quote what was sent, or come from whatever stands in the way.
type Error struct {
	Call       string        // token, begin, end, graph token, user, methods, ...
	Status     int           // HTTP; 0 when no HTTP answer is known
	Code       string        // AADSTS number, OAuth error or Graph error code; "" when there was none
	RetryAfter time.Duration // where the answer says so
}

// noToken is the code of a failure to sign in that has none.
const noToken = "no_token"

// hints say what an administrator can do about a code.
var hints = map[string]string{ //nolint:gosec // codes and texts, no credential
	noToken:                        "the sign-in service was not reached, or nobody is signed in (az login)",
	"AADSTS7000112":                "the application is disabled in this directory: enable it for sign-in",
	"AADSTS500014":                 "the application is disabled in this directory: enable it for sign-in",
	"AADSTS7000215":                "the client secret is wrong",
	"AADSTS7000222":                "the client secret has expired",
	"AADSTS700027":                 "the certificate is not registered for this application, or has expired",
	"AADSTS700016":                 "the directory does not know this application: run countersign setup microsoft365",
	"AADSTS90002":                  "there is no such directory: check tenant_id and cloud",
	"AADSTS500011":                 "the directory does not know the Connector: check the licence",
	"Authorization_RequestDenied":  "the application lacks a permission: run countersign setup microsoft365",
	"accessDenied":                 "the application lacks a permission: run countersign setup microsoft365",
	"Request_ResourceNotFound":     "not in this directory",
	"Authentication_RequestFailed": "the directory did not accept the token",
}

func (e *Error) Error() string {
	s := "microsoft365: " + e.Call
	if e.Status != 0 {
		s += fmt.Sprintf(": HTTP %d", e.Status)
	}
	if e.Code != "" {
		s += ", " + e.Code
	}
	if hint := hints[e.Code]; hint != "" {
		s += ": " + hint
	}
	return s
}

// transient says whether the same call may go better later.
func (e *Error) transient() bool {
	switch {
	case e.Status == 0, e.Status == 408, e.Status == 429, e.Status >= 500:
		return true
	case e.Status == 200: // cut short, or a page from something in between
		return true
	default:
		return false
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
	for _, known := range []error{errTooLarge, errMalformed, context.Canceled, io.ErrUnexpectedEOF, io.EOF} {
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
