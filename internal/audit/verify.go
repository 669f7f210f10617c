package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrBroken marks a journal whose chain does not hold: it was changed after it was written.
var ErrBroken = errors.New("audit: journal broken")

// BrokenError says where a chain breaks first. It matches ErrBroken.
type BrokenError struct {
	Line   int    `json:"line"`   // 1 is the first of the file; 0 is not known
	Offset int64  `json:"offset"` // where that line begins
	Reason string `json:"reason"`
}

func (e *BrokenError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s at byte %d: %s", ErrBroken.Error(), e.Offset, e.Reason)
	}
	return fmt.Sprintf("%s at line %d (byte %d): %s", ErrBroken.Error(), e.Line, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrBroken) true.
func (e *BrokenError) Is(target error) bool { return target == ErrBroken }

// Report is what Verify found. Records, Last, LastSeq and Head describe the part before any break.
type Report struct {
	Chain    string       `json:"chain"`
	Records  int          `json:"records"`
	FirstSeq uint64       `json:"first_seq"` // more than 1: the file continues another one
	LastSeq  uint64       `json:"last_seq"`
	First    time.Time    `json:"first"`
	Last     time.Time    `json:"last"`
	Prev     string       `json:"prev"`             // head of the file before this one; all zeros where the chain begins
	Head     string       `json:"head"`             // hash of the last good record; kept elsewhere, it shows that an end was cut off
	Torn     int64        `json:"torn"`             // bytes of an unfinished record at the end: a crash, or one being written
	Broken   *BrokenError `json:"broken,omitempty"` // where the chain breaks first
}

// Intact reports whether the chain holds from the first byte to the last.
func (r Report) Intact() bool { return r.Records > 0 && r.Broken == nil && r.Torn == 0 }

// Verify reads a whole journal file and checks its chain. The error matches ErrBroken when the chain does not hold; a
// torn end alone is no error, and Report.Torn tells of it.
func Verify(ctx context.Context, r io.Reader) (Report, error) {
	var rep Report
	var head link
	in := newLines(r)
	for {
		if err := ctx.Err(); err != nil {
			return rep, fmt.Errorf("verify journal: %w", err)
		}
		line, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			if rep.Records == 0 {
				return rep.broken(in, "the file is empty")
			}
			return rep, nil
		case errors.Is(err, errTorn):
			rep.Torn, err = rest(in, line)
			if err != nil {
				return rep, fmt.Errorf("verify journal: %w", err)
			}
			if rep.Records == 0 {
				in.line++
				return rep.broken(in, "the first record is not whole")
			}
			return rep, nil
		case errors.Is(err, errLong):
			return rep.broken(in, err.Error())
		case err != nil:
			return rep, fmt.Errorf("verify journal: %w", err)
		}
		if head, err = rep.add(head, line); err != nil {
			return rep.broken(in, err.Error())
		}
	}
}

// rest counts the bytes from a torn line to the end of the file.
func rest(in *lines, torn []byte) (int64, error) {
	n := int64(len(torn))
	more, err := io.Copy(io.Discard, in.r)
	return n + more, err
}

func (r *Report) broken(in *lines, why string) (Report, error) {
	r.Broken = &BrokenError{Line: max(in.line, 1), Offset: in.off, Reason: why}
	return *r, r.Broken
}

// summary is the part of a record that reading a chain needs.
type summary struct {
	Kind     string    `json:"kind"`
	Time     time.Time `json:"time"`
	Chain    string    `json:"chain"`
	Exchange string    `json:"exchange"`
	Hold     string    `json:"hold"`
	HoldKey  string    `json:"hold_key"`
}

// add takes one line into the report, which must follow head.
func (r *Report) add(head link, line []byte) (link, error) {
	var s summary
	next, after, err := unseal(line)
	if err != nil {
		return link{}, err
	}
	if err := json.Unmarshal(line, &s); err != nil {
		return link{}, errForm
	}
	if r.Records == 0 {
		if s.Kind != Opened || s.Chain == "" {
			return link{}, errors.New("a journal begins with a journal.opened record, which is missing")
		}
		r.Chain, r.FirstSeq, r.First, r.Prev = s.Chain, next.seq, s.Time, after.String()
	} else if err := head.precedes(next, after); err != nil {
		return link{}, err
	}
	if s.Kind == Opened && s.Chain != r.Chain {
		return link{}, errors.New("another journal begins here")
	}
	r.Records++
	r.LastSeq, r.Last, r.Head = next.seq, s.Time, next.String()
	return next, nil
}
