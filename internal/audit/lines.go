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

// lines reads a journal line by line within a bounded buffer.
type lines struct {
	r    *bufio.Reader
	line int   // number of the line last read
	off  int64 // where it begins
	end  int64 // where the next one begins
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxRead+1)} }

// next returns the next line without its newline; it is valid until the following call. At the end it returns io.EOF, or
// errTorn with what is left. After errLong there is no going on.
func (l *lines) next() ([]byte, error) {
	b, err := l.r.ReadSlice('\n')
	l.off = l.end
	l.end += int64(len(b))
	switch {
	case err == nil:
		l.line++
		return b[:len(b)-1], nil
	case errors.Is(err, io.EOF) && len(b) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return b, errTorn
	case errors.Is(err, bufio.ErrBufferFull):
		l.line++
		if len(bytes.Trim(b, "\x00")) == 0 {
			return b, errTorn // a disk that lost power grew the file and never filled it
		}
		return b, errLong
	default:
		return nil, err
	}
}
