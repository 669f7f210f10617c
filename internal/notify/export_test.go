package notify

import (
	"errors"
	"net/http"
	"time"
)

// WithTransport makes every sink of o send through rt.
func WithTransport(o Options, rt http.RoundTripper) Options {
	o.roundTripper = rt
	return o
}

// Sign is the signature of Standard Webhooks, for its published test vector.
func Sign(secret Secret, id string, at time.Time, body []byte) (string, error) {
	key, err := signingKey(secret)
	if err != nil {
		return "", err
	}
	return sign([][]byte{key}, id, at, body), nil
}

// Take leaves an event in the inbox of a spool, as a process leaves it that dies before the spool has it.
func Take(dir string, e Event) error {
	if err := e.complete(); err != nil {
		return err
	}
	in, _, err := openInbox(dir)
	if err != nil {
		return err
	}
	return errors.Join(in.add(e), in.close())
}
