package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"countersign/internal/operation"
	"countersign/policy"
)

// maxHAR bounds a HAR file.
const maxHAR = 512 << 20

// harFile is what is read of a HTTP Archive 1.2.
type harFile struct {
	Log struct {
		Entries []harEntry `json:"entries"`
	} `json:"log"`
}

type harEntry struct {
	Started time.Time `json:"startedDateTime"`
	Request struct {
		Method  string    `json:"method"`
		URL     string    `json:"url"`
		Headers []harPair `json:"headers"`
		Body    *struct {
			MimeType string    `json:"mimeType"`
			Text     string    `json:"text"`
			Encoding string    `json:"encoding"` // "base64", as some tools write for octets that are no text
			Params   []harPair `json:"params"`
		} `json:"postData"`
	} `json:"request"`
}

type harPair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// har replays the requests of a HAR file. They were never decided, so both policies are asked.
func (r *Replayer) har(ctx context.Context, in *bufio.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, maxHAR+1))
	if err != nil {
		return fmt.Errorf("read HAR file: %w", err)
	}
	if len(text) > maxHAR {
		return fmt.Errorf("HAR file of more than %d bytes", maxHAR)
	}
	var f harFile
	if err := json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &f); err != nil {
		return errors.New("not a HAR file") // the cause may quote a request
	}
	for i, e := range f.Log.Entries {
		if err := r.entry(ctx, e); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

func (r *Replayer) entry(ctx context.Context, e harEntry) error {
	c := Change{Time: e.Started, Requester: r.o.Requester}
	was, call, ok, err := r.current.harDecision(ctx, e, r.o.Requester)
	if err != nil {
		return fmt.Errorf("policy in force: %w", err)
	}
	if !ok {
		r.count.Skipped++
		return nil
	}
	now, _, _, err := r.candidate.harDecision(ctx, e, r.o.Requester)
	if err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	c.Was, c.Call = was.Effect, call
	r.note(c, now)
	return nil
}

// harDecision decides about a request of a HAR file at the time of the request. What policy would not be asked about is
// not ok.
func (c *Checker) harDecision(ctx context.Context, e harEntry, requester string) (d policy.Decision, call string, ok bool, err error) {
	body, err := e.body()
	if err != nil {
		return d, "", false, nil //nolint:nilerr // an entry that cannot be read is one that is skipped
	}
	req, err := operation.CheckRequest{Method: e.Request.Method, URL: e.Request.URL, Header: e.header(), Body: body}.Request()
	if err != nil {
		return d, "", false, nil //nolint:nilerr // decided before policy is asked
	}
	if !c.admission.Intercepts(req.Host) {
		return d, "", false, nil
	}
	parsed, err := c.parser.Parse(req)
	if err != nil {
		if _, is := errors.AsType[*operation.Uninspectable](err); is {
			return d, "", false, nil
		}
		return d, "", false, err
	}
	var ds []policy.Decision
	var ops []policy.Operation
	for _, in := range parsed.Inputs {
		in.Subject = attested(requester)
		r, err := c.engine.Replay(ctx, in, e.Started)
		if err != nil {
			return d, "", false, err
		}
		ds, ops = append(ds, r.Decision), append(ops, in.Operation)
	}
	return policy.Combine(ds), names(ops), true, nil
}

// attested is the subject of requests that come without one.
func attested(requester string) (s policy.Subject) {
	if requester != "" {
		s.Requester = policy.Requester{ID: requester, Assurance: policy.AssuranceAttested, Claims: map[string]any{"sub": requester}}
	}
	return s
}

// header returns the fields that belong to the request: no HTTP/2 pseudo-fields, and none that describe how the body was
// on the wire, because a HAR file has it decoded.
func (e harEntry) header() map[string][]string {
	out := map[string][]string{}
	for _, h := range e.Request.Headers {
		switch name := strings.ToLower(h.Name); {
		case strings.HasPrefix(name, ":"), name == "content-encoding", name == "content-length", name == "transfer-encoding", name == "host":
		default:
			out[h.Name] = append(out[h.Name], h.Value)
		}
	}
	return out
}

func (e harEntry) body() ([]byte, error) {
	b := e.Request.Body
	switch {
	case b == nil:
		return nil, nil
	case b.Encoding == "base64":
		return base64.StdEncoding.DecodeString(b.Text)
	case b.Text == "" && len(b.Params) > 0:
		form := url.Values{}
		for _, p := range b.Params {
			form.Add(p.Name, p.Value)
		}
		return []byte(form.Encode()), nil
	default:
		return []byte(b.Text), nil
	}
}
