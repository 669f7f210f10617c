package decisionlog

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// statusError is an answer that is none of 2xx.
type statusError struct {
	status int
	after  time.Duration // of Retry-After
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the endpoint answered %d %s", e.status, http.StatusText(e.status))
}

// spoilt reports whether the endpoint means the events and not the moment: sent again they would be refused again.
func (e *statusError) spoilt() bool {
	return e.status == http.StatusBadRequest || e.status == http.StatusRequestEntityTooLarge || e.status == http.StatusUnprocessableEntity
}

// flush sends all that waits. What the endpoint does not take now is put back.
func (l *Log) flush(ctx context.Context) error {
	for {
		events := l.take()
		if len(events) == 0 {
			return nil
		}
		unsent, err := l.send(ctx, events)
		l.putBack(unsent)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// send posts events and returns those that are to be sent again. What is refused for what it is goes in halves, until the
// one that is at fault is dropped: it must not keep the others from being sent.
func (l *Log) send(ctx context.Context, events [][]byte) (unsent [][]byte, err error) {
	if err = l.post(ctx, events); err == nil {
		l.count(len(events), 0)
		return nil, nil
	}
	if answer, ok := errors.AsType[*statusError](err); !ok || !answer.spoilt() {
		return events, err
	}
	if len(events) == 1 {
		l.count(0, 1)
		return nil, nil
	}
	half := len(events) / 2
	if unsent, err = l.send(ctx, events[:half]); err != nil {
		return slices.Concat(unsent, events[half:]), err
	}
	return l.send(ctx, events[half:])
}

func (l *Log) post(ctx context.Context, events [][]byte) error {
	body, err := packed(events)
	if err != nil {
		return fmt.Errorf("compress events: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.target, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Encoding", "gzip")
	if l.o.Token != nil {
		token, err := l.o.Token()
		if err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
	}
	resp, err := l.o.Client.Do(req)
	if err != nil {
		return fmt.Errorf("send events: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()                         // it was only read
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // the status has said all
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return &statusError{resp.StatusCode, retryAfter(resp.Header.Get("Retry-After"))}
	}
	return nil
}

// packed is a JSON array of events, compressed.
func packed(events [][]byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	sep := []byte{'['}
	for _, e := range events {
		if _, err := z.Write(append(sep, e...)); err != nil {
			return nil, err
		}
		sep = []byte{','}
	}
	if _, err := z.Write([]byte{']'}); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// retryAfter reads the header's seconds; 0 without any.
func retryAfter(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}
