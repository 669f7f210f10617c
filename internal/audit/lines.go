package audit

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var (
	errLong = errors.New("it is longer than 1 MiB")
	// errTorn marks bytes at the end of a file that no newline ends.
	errTorn = errors.New("torn")
)

// lines reads a journal line by line, within bounds.
type lines struct {
	r    *bufio.Reader
	long []byte // a line that did not fit r's buffer
	line int    // number of the line last read
	off  int64  // where it begins
	end  int64  // where the next one begins
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 16<<10)} }

// next returns the next line without its newline; it is valid until the following call. At the end it returns io.EOF, or
// errTorn with what is left. After errLong there is no going on.
func (l *lines) next() ([]byte, error) {
	l.off = l.end
	l.long = l.long[:0]
	b, err := l.r.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) && len(l.long)+len(b) <= maxRead {
		l.long = append(l.long, b...)
		b, err = l.r.ReadSlice('\n')
	}
	if len(l.long) > 0 {
		l.long = append(l.long, b...)
		b = l.long
	}
	l.end += int64(len(b))
	switch {
	case err == nil:
		l.line++
		return b[:len(b)-1], nil
	case errors.Is(err, io.EOF) && len(b) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return b, errTorn
	case errors.Is(err, bufio.ErrBufferFull) && len(bytes.Trim(b, "\x00")) == 0:
		return b, errTorn // a disk that lost power grew the file and never filled it
	case errors.Is(err, bufio.ErrBufferFull):
		l.line++
		return b, errLong
	default:
		return nil, err
	}
}
