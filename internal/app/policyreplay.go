package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"countersign/internal/audit"
	"countersign/internal/config"
	"countersign/policy"
)

// absent is what a journal does not keep of a call, as paths of the policy's input.
var absent = []string{
	"request.body", "request.body_kind", "request.headers", "request.query", "subject.requester.claims",
}

// absentOfPart is what it does not keep of a part of a batch, besides.
var absentOfPart = []string{"request.method", "request.path", "request.segments"}

// ReplayOptions say what is replayed, and how it is told.
type ReplayOptions struct {
	Policy    []string // the candidate: what policy.paths would be
	Requester string   // of the requests in a HAR file, attested; "" for nobody
	All       bool     // tell of decisions that stay the same, too
	JSON      bool     // JSON Lines
}

// Change is one recorded call and what the candidate makes of it.
type Change struct {
	Time      time.Time            `json:"time"`
	Exchange  string               `json:"exchange,omitempty"` // of the journal
	Requester string               `json:"requester,omitempty"`
	Call      string               `json:"call"` // the operations, or method and path
	Was       policy.Effect        `json:"was"`
	Now       policy.Effect        `json:"now"`
	Verdict   string               `json:"verdict"` // same, changed, unknown
	Reasons   []policy.Reason      `json:"reasons"` // of now
	Unknown   []policy.MissingRead `json:"unknown,omitempty"`
}

// The verdicts.
const (
	verdictSame    = "same"
	verdictChanged = "changed"
	verdictUnknown = "unknown" // a rule reads what was not recorded
)

// Replayed counts what a replay found.
type Replayed struct {
	Replayed int `json:"replayed"`
	Changed  int `json:"changed"`
	Unknown  int `json:"unknown"`
	Skipped  int `json:"skipped"` // not decided by policy: uninspectable, not admitted, no policy
}

// Replayer asks a candidate policy about recorded calls.
type Replayer struct {
	o         ReplayOptions
	current   *Checker // judges what was recorded without a decision
	candidate *Checker
	told      []Change
	count     Replayed
}

// NewReplayer makes one for a candidate that takes the place of c's policy.paths.
func NewReplayer(c config.Config, o ReplayOptions, log *slog.Logger) (*Replayer, error) {
	if len(o.Policy) == 0 {
		return nil, errors.New("no candidate policy")
	}
	current, err := NewChecker(c, log)
	if err != nil {
		return nil, fmt.Errorf("policy in force: %w", err)
	}
	c.Policy.Paths, c.Policy.Bundle = o.Policy, config.Bundle{}
	candidate, err := NewChecker(c, log)
	if err != nil {
		return nil, fmt.Errorf("candidate: %w", err)
	}
	return &Replayer{o: o, current: current, candidate: candidate}, nil
}

// Run replays a journal or a HAR file and tells what would change.
func (r *Replayer) Run(ctx context.Context, in io.Reader, out io.Writer) (Replayed, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	work := r.journal
	if isHAR(buffered) {
		work = r.har
	}
	if err := work(ctx, buffered); err != nil {
		return Replayed{}, err
	}
	return r.count, r.print(out)
}

// isHAR reports whether the input is one JSON object that begins with "log", and not one record a line.
func isHAR(in *bufio.Reader) bool {
	head, _ := in.Peek(4 << 10) // a shorter file is no error here
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	t, err := d.Token()
	return err == nil && t == "log"
}

// journal replays the decision records. A record that is cut short at the end is what a crash leaves, and is passed over.
func (r *Replayer) journal(ctx context.Context, in *bufio.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), 2<<20)
	records := 0
	for n := 1; lines.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		var e audit.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Kind == "" {
			if lines.Scan() || n == 1 {
				return fmt.Errorf("line %d is no record of a journal", n)
			}
			break
		}
		records++
		if e.Kind != audit.Decision {
			continue
		}
		if len(e.Operations) == 0 || e.Revision == "" {
			r.count.Skipped++
			continue
		}
		if err := r.record(ctx, e); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	if records == 0 {
		return errors.New("neither a journal nor a HAR file: there is no record in it")
	}
	return nil
}

func (r *Replayer) record(ctx context.Context, e audit.Event) error {
	c := Change{Time: e.Time, Exchange: e.Exchange, Call: names(e.Operations)}
	if err := c.Was.UnmarshalText([]byte(e.Effect)); err != nil {
		return err
	}
	var subject policy.Subject
	if e.Subject != nil {
		subject, c.Requester = *e.Subject, e.Subject.Requester.ID
	}
	var ds []policy.Decision
	for _, op := range e.Operations {
		in := policy.Input{Subject: subject, Operation: op, Request: policy.Request{
			Method: e.Method, Host: e.Host, Path: e.Path, Segments: strings.Split(strings.TrimPrefix(e.Path, "/"), "/"),
		}}
		if e.Digest != nil {
			in.Request.Digest = *e.Digest
		}
		missing := absent
		if op.Batch != nil || len(e.Operations) > 1 {
			missing = slices.Concat(absent, absentOfPart)
			in.Request.Method, in.Request.Path, in.Request.Segments = methodOf(op), "", nil
		}
		d, err := r.candidate.engine.Replay(ctx, in, e.Time, missing...)
		if err != nil {
			return err
		}
		ds = append(ds, d.Decision)
		c.Unknown = append(c.Unknown, d.Unknown...)
	}
	r.note(c, policy.Combine(ds))
	return nil
}

// methodOf stands in for the method of a part, which is not recorded. The built-in policy asks only whether it reads,
// and the catalog has said so by the category.
func methodOf(op policy.Operation) string {
	if op.Category == "read" {
		return "GET"
	}
	return "POST"
}

func names(ops []policy.Operation) string {
	var out []string
	for _, op := range ops {
		name := op.Name
		if name == "" {
			name = op.Summary
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

func (r *Replayer) note(c Change, d policy.Decision) {
	c.Now, c.Reasons, c.Verdict = d.Effect, append([]policy.Reason{}, d.Reasons...), verdictSame
	r.count.Replayed++
	switch {
	case len(c.Unknown) > 0:
		c.Verdict = verdictUnknown
		r.count.Unknown++
	case c.Was != c.Now:
		c.Verdict = verdictChanged
		r.count.Changed++
	}
	if r.o.All || c.Verdict != verdictSame {
		r.told = append(r.told, c)
	}
}

func (r *Replayer) print(out io.Writer) error {
	if r.o.JSON {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		for _, c := range r.told {
			if err := enc.Encode(c); err != nil {
				return err
			}
		}
		return enc.Encode(r.count)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(r.told) > 0 {
		fmt.Fprintln(w, "TIME\tREQUESTER\tCALL\tWAS\tNOW\tWHY")
	}
	for _, c := range r.told {
		now := c.Now.String()
		if c.Verdict == verdictUnknown {
			now = "unknown"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", c.Time.UTC().Format("2006-01-02T15:04:05Z"),
			printable(orDash(c.Requester)), printable(c.Call), c.Was, now, printable(c.because()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d decisions replayed: %d would change, %d unknown; %d skipped, which policy had not decided\n",
		r.count.Replayed, r.count.Changed, r.count.Unknown, r.count.Skipped)
	return err
}

// because says why: the codes of the reasons, or what a rule read that was not recorded.
func (c Change) because() string {
	var out []string
	if c.Verdict == verdictUnknown {
		for _, u := range c.Unknown {
			if s := fmt.Sprintf("%s reads input.%s", u.Place, u.Path); !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return strings.Join(out, ", ") + ", which the journal does not have"
	}
	for _, r := range c.Reasons {
		out = append(out, r.Code)
	}
	return orDash(strings.Join(out, ", "))
}
