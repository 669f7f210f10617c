package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ShowOptions says which records Show prints, and how. Empty filters let everything pass; all that are set must match.
type ShowOptions struct {
	Exchange string
	Hold     string
	Kinds    []string
	JSON     bool // whole records as they are in the file; otherwise one short line each
}

// shown is what the short form prints of a record.
type shown struct {
	Seq      uint64    `json:"seq"`
	Kind     string    `json:"kind"`
	Time     time.Time `json:"time"`
	Exchange string    `json:"exchange"`
	Hold     string    `json:"hold"`
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	Path     string    `json:"path"`
	Effect   string    `json:"effect"`
	State    string    `json:"state"`
	Code     string    `json:"code"`
	Status   int       `json:"status"`
	Provider string    `json:"provider"`
	Detail   string    `json:"detail"`
	Subject  struct {
		Agent     string `json:"agent"`
		Requester struct {
			ID string `json:"id"`
		} `json:"requester"`
	} `json:"subject"`
	Operations []struct {
		Name string `json:"name"`
	} `json:"operations"`
}

// Show prints the records of a journal, oldest first. It does not check the chain: Verify does. Lines that are no records
// are counted in the error, which matches ErrBroken, and the others are printed all the same.
func Show(ctx context.Context, r io.Reader, w io.Writer, o ShowOptions) error {
	in, out, bad := newLines(r), bufio.NewWriter(w), 0
	for {
		if err := ctx.Err(); err != nil {
			return errors.Join(fmt.Errorf("show journal: %w", err), out.Flush())
		}
		line, err := in.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			break
		}
		if err != nil {
			return errors.Join(fmt.Errorf("show journal: line %d: %w", in.line, err), out.Flush())
		}
		var s shown
		if !json.Valid(line) || json.Unmarshal(line, &s) != nil {
			bad++
			continue
		}
		if o.match(s) {
			show(out, line, s, o.JSON)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("show journal: %w", err)
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d lines are no records", ErrBroken, bad)
	}
	return nil
}

func (o ShowOptions) match(s shown) bool {
	return (o.Exchange == "" || o.Exchange == s.Exchange) &&
		(o.Hold == "" || o.Hold == s.Hold) &&
		(len(o.Kinds) == 0 || slices.Contains(o.Kinds, s.Kind))
}

func show(out *bufio.Writer, line []byte, s shown, raw bool) {
	if raw {
		// Flush reports a failed write, so the errors here can wait.
		_, _ = out.Write(escapeJSON(line))
		_ = out.WriteByte('\n')
		return
	}
	var names []string
	for _, op := range s.Operations {
		names = append(names, op.Name)
	}
	status := ""
	if s.Status != 0 {
		status = strconv.Itoa(s.Status)
	}
	line = fmt.Appendf(nil, "%s %6d %-20s", s.Time.UTC().Format("2006-01-02T15:04:05.000Z"), s.Seq, plain(s.Kind))
	for _, f := range []struct{ name, value string }{
		{"exchange", s.Exchange}, {"hold", s.Hold}, {"effect", s.Effect}, {"state", s.State}, {"code", s.Code},
		{"status", status}, {"requester", s.Subject.Requester.ID}, {"agent", s.Subject.Agent},
		{"operation", strings.Join(names, ",")}, {"provider", s.Provider}, {"detail", s.Detail},
		{"method", s.Method}, {"host", s.Host}, {"path", s.Path},
	} {
		if f.value != "" {
			line = fmt.Appendf(line, " %s=%s", f.name, plain(f.value))
		}
	}
	_, _ = out.Write(bytes.TrimRight(line, " "))
	_ = out.WriteByte('\n')
}

// plain makes text safe for a terminal: what could move the cursor, reorder the line or pass for another field is quoted.
func plain(s string) string {
	for _, r := range s {
		if r == ' ' || r == '"' || r == '\\' || r == '=' || !strconv.IsPrint(r) || r == '\uFFFD' {
			return strconv.Quote(s)
		}
	}
	return s
}

// escapeJSON writes what a terminal could act on as \u escapes, which mean the same in JSON.
func escapeJSON(line []byte) []byte {
	if !bytes.ContainsFunc(line, func(r rune) bool { return r != ' ' && !strconv.IsPrint(r) }) {
		return line
	}
	var b []byte
	for _, r := range string(line) {
		switch {
		case r == '\t' || r == ' ' || strconv.IsPrint(r):
			b = append(b, string(r)...)
		case r > 0xFFFF:
			hi, lo := (r-0x10000)>>10+0xD800, (r-0x10000)&0x3FF+0xDC00
			b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
