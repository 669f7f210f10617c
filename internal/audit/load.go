package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

const (
	lookBack    = 15 * time.Minute // how far Unfinished goes back
	window      = 2 << 20          // first guess at how many bytes that is
	maxLookBack = 256 << 20        // and never more than this
)

var errCrash = errors.New("the last record was not whole")

// load reads the end of the file, mends it, and makes the journal ready to go on after it.
func (j *Journal) load(f File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	end, err := readEnd(f, size, j.now().Add(-lookBack))
	if err != nil {
		return err
	}
	j.file = f
	if end.at.size < size {
		if err := f.Truncate(end.at.size); err != nil {
			return fmt.Errorf("cut off a torn record: %w", err)
		}
	}
	j.chain, j.unfinished, j.tip = end.chain, end.unfinished, end.at
	if end.capped {
		j.log.Warn("journal is too long to look for all unfinished exchanges", "bytes", maxLookBack)
	}
	switch {
	case j.chain == "":
		j.chain = newChain()
		j.tip, err = j.rewrite(f, mark{}, Event{Kind: Opened, Chain: j.chain}, nil)
	case end.at.size < size:
		j.log.Warn("journal had a torn end", "bytes", size-end.at.size)
		j.tip, err = j.rewrite(f, end.at, Event{Kind: Recovered, Detail: detail(errCrash), Bytes: size - end.at.size}, nil)
	}
	j.safe = j.tip
	return err
}

// ending is what the end of a file says.
type ending struct {
	chain      string // "" when there is no whole record
	at         mark   // the last whole record
	unfinished []Event
	capped     bool
}

// readEnd reads backwards as far as since, and checks the chain of what it read.
func readEnd(f File, size int64, since time.Time) (ending, error) {
	chain, err := readChain(f, size)
	if err != nil || chain == "" {
		return ending{}, err
	}
	for w := int64(window); ; w *= 4 {
		start := max(0, size-w)
		end, first, err := readFrom(f, start, size, since)
		if err != nil {
			return ending{}, err
		}
		end.chain = chain
		end.capped = start > 0 && w >= maxLookBack && !first.Before(since)
		if start == 0 || end.capped || end.at.size > 0 && first.Before(since) {
			return end, nil
		}
		if w >= maxLookBack {
			return ending{}, broken(0, size-w, "its end holds no record")
		}
	}
}

// readChain returns the id in the first record; "" when not even that is whole.
func readChain(f File, size int64) (string, error) {
	line, err := newLines(io.NewSectionReader(f, 0, size)).next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errTorn) && size <= maxLine && unborn(line):
		return "", nil
	case errors.Is(err, errTorn), errors.Is(err, errLong):
		return "", broken(1, 0, errForm.Error())
	case err != nil:
		return "", err
	}
	var s summary
	if _, _, err := unseal(line); err != nil {
		return "", broken(1, 0, err.Error())
	}
	if err := json.Unmarshal(line, &s); err != nil || s.Kind != Opened || s.Chain == "" {
		return "", broken(1, 0, errForm.Error())
	}
	return s.Chain, nil
}

// unborn reports whether a file holds the beginning of a first record and nothing else: the process that made it died.
// Any other content is somebody's, and must not be cut off.
func unborn(b []byte) bool {
	b = bytes.TrimRight(b, "\x00")
	return bytes.HasPrefix(b, []byte(partSeq)) || bytes.HasPrefix([]byte(partSeq), b)
}

// readFrom reads the whole lines after start. It returns the time of the first one.
func readFrom(f File, start, size int64, since time.Time) (ending, time.Time, error) {
	var (
		end   ending
		first time.Time
		open  = map[string]Event{}
		in    = newLines(io.NewSectionReader(f, start, size-start))
	)
	if start > 0 {
		if _, err := in.next(); err != nil { // most likely the rest of a line
			return end, first, nil // nothing to be had from here: the caller goes further back
		}
	}
	for {
		line, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return end, first, brokenIn(in, start, err)
		}
		at, after, err := unseal(line)
		if err != nil && bytes.IndexByte(line, 0) >= 0 {
			break // the power failed while the file grew: its length reached the disk and its content did not
		}
		if err == nil && end.at.size > 0 {
			err = end.at.precedes(at, after)
		}
		var s summary
		if err == nil && json.Unmarshal(line, &s) != nil {
			err = errForm
		}
		if err != nil {
			return end, first, brokenIn(in, start, err)
		}
		if end.at.size == 0 {
			first = s.Time
		}
		end.at = mark{link: at, size: start + in.end, last: len(line) + 1}
		note(open, s, line, since)
	}
	end.unfinished = slices.SortedFunc(maps.Values(open), func(a, b Event) int { return a.Time.Compare(b.Time) })
	return end, first, nil
}

// note keeps in open the redemptions whose exchange is not completed.
func note(open map[string]Event, s summary, line []byte, since time.Time) {
	key := cmp.Or(s.Exchange, "hold "+s.Hold)
	switch {
	case s.Kind == Completed:
		delete(open, key)
	case s.Kind == Redeemed && !s.Time.Before(since):
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			// A newer version wrote words that this one does not know; that it is unfinished counts all the same.
			e = Event{Kind: s.Kind, Time: s.Time, Exchange: s.Exchange, Hold: s.Hold, HoldKey: s.HoldKey}
		}
		open[key] = e
	}
}

func broken(line int, offset int64, why string) error {
	return &BrokenError{Line: line, Offset: offset, Reason: why}
}

// brokenIn says where in was when the chain broke. Read from the middle of a file, lines have no number.
func brokenIn(in *lines, start int64, why error) error {
	line := in.line
	if start > 0 {
		line = 0
	}
	return broken(line, start+in.off, why.Error())
}
