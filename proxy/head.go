package proxy

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"countersign/internal/operation"
	"countersign/internal/refusal"
)

// framing says where the request after a head ends.
type framing struct {
	length  int64
	chunked bool
	connect bool
}

// readHead checks the head of an HTTP/1.1 request, or, while it is not complete, what there is of it.
func readHead(head []byte, complete bool) (framing, *refusal.Error) {
	if len(head) > 0 && !httpguts.IsTokenRune(rune(head[0])) {
		return framing{}, malformed("the request does not begin with a method")
	}
	for i, b := range head {
		if b == '\n' && (i == 0 || head[i-1] != '\r') {
			return framing{}, malformed("a line ends in a bare line feed")
		}
		if b == '\r' && i+1 < len(head) && head[i+1] != '\n' {
			return framing{}, malformed("the header has a bare carriage return")
		}
		if b < ' ' && b != '\t' && b != '\r' && b != '\n' || b == 0x7f {
			return framing{}, malformed("the header has a control character")
		}
	}
	if !complete {
		return framing{}, nil
	}
	line, rest, _ := bytes.Cut(head[:len(head)-2], []byte("\r\n"))
	method, target, version, err := requestLine(string(line))
	if err != nil {
		return framing{}, err
	}
	fields, err := readFields(rest)
	if err != nil {
		return framing{}, err
	}
	f, err := fields.framing(version)
	if err == nil && version == "HTTP/1.1" && method != "CONNECT" && len(fields.host) == 0 {
		err = malformed("there is no Host")
	}
	if err == nil && method == "CONNECT" {
		err = fields.connect(target, f)
		f = framing{connect: true}
	}
	return f, err
}

func requestLine(line string) (method, target, version string, err *refusal.Error) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || parts[1] == "" || !token(parts[0]) || strings.Contains(line, "\t") {
		return "", "", "", malformed("the request line is not method, target and version")
	}
	if parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		return "", "", "", malformed("the protocol version is not HTTP/1.1 or HTTP/1.0")
	}
	return parts[0], parts[1], parts[2], nil
}

// fieldSet holds the header fields that decide how a request is framed and for whom it is.
type fieldSet struct{ host, length, encoding []string }

func readFields(lines []byte) (fieldSet, *refusal.Error) {
	var f fieldSet
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !token(string(name)) { // a folded line begins with white space, which no token does
			return f, malformed("a header line is not a name, a colon and a value")
		}
		v := strings.Trim(string(value), " \t")
		switch strings.ToLower(string(name)) {
		case "host":
			f.host = append(f.host, v)
		case "content-length":
			f.length = append(f.length, v)
		case "transfer-encoding":
			f.encoding = append(f.encoding, v)
		}
	}
	if len(f.host) > 1 {
		return f, malformed("there is more than one Host")
	}
	return f, nil
}

func (f fieldSet) framing(version string) (framing, *refusal.Error) {
	switch {
	case len(f.length) > 1, len(f.length) > 0 && len(f.encoding) > 0:
		return framing{}, malformed("the length of the body is given twice")
	case len(f.encoding) > 0:
		if version != "HTTP/1.1" || len(f.encoding) > 1 || !strings.EqualFold(f.encoding[0], "chunked") {
			return framing{}, malformed("the transfer encoding is not chunked alone")
		}
		return framing{chunked: true}, nil
	case len(f.length) == 1:
		n, err := strconv.ParseUint(f.length[0], 10, 62)
		if err != nil || len(f.length[0]) > 18 || !digits(f.length[0]) {
			return framing{}, malformed("the Content-Length is not a number")
		}
		return framing{length: int64(n)}, nil
	default:
		return framing{}, nil
	}
}

// connect checks a CONNECT: it has no body, and its Host, which HTTP/1.0 clients leave out and net/http hides, names the
// target.
func (f fieldSet) connect(target string, framed framing) *refusal.Error {
	if framed.chunked || framed.length > 0 {
		return malformed("a CONNECT has no body")
	}
	if len(f.host) == 0 {
		return nil
	}
	host, port, err := operation.Authority(target, "https")
	if err != nil {
		return nil //nolint:nilerr // the handler refuses the target itself, and says so
	}
	otherHost, otherPort, err := operation.Authority(f.host[0], "https")
	if err != nil || otherHost != host || otherPort != port {
		return &refusal.Error{Code: refusal.AuthorityMismatch, Detail: "Host and the target of the CONNECT differ"}
	}
	return nil
}

// chunk advances over one line of the chunked coding and reports whether there was a whole one. A chunk's size stands alone on
// its line: extensions (RFC 9112 §7.1.1) say nothing to any API, and servers that disagree on where one ends are a way to smuggle.
func (c *wireConn) chunk() (bool, *refusal.Error) {
	i := bytes.IndexByte(c.buf, '\n')
	if i >= wireBuffer || i < 0 && len(c.buf) >= wireBuffer {
		return false, malformed("a line of the chunked body is longer than the limit")
	}
	if i < 0 {
		return false, nil
	}
	line := c.buf[:i]
	if len(line) == 0 || line[i-1] != '\r' || bytes.ContainsFunc(line[:i-1], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return false, badFraming()
	}
	line = line[:i-1]
	switch c.state {
	case wireChunkEnd:
		if len(line) != 0 {
			return false, badFraming()
		}
		c.state = wireChunkSize
	case wireChunkSize:
		n, err := chunkSize(line)
		if err != nil {
			return false, err
		}
		c.left, c.state = n, wireChunkData
		if n == 0 {
			c.state = wireTrailer
		}
	case wireTrailer:
		if len(line) == 0 {
			c.state = wireHead
		} else if name, _, ok := bytes.Cut(line, []byte(":")); !ok || !token(string(name)) {
			return false, badFraming()
		}
	case wireHead, wireBody, wireChunkData, wireRaw, wireDead:
		return false, badFraming()
	default:
		return false, badFraming()
	}
	c.pass = i + 1
	return true, nil
}

func chunkSize(line []byte) (int64, *refusal.Error) {
	rest := bytes.TrimLeft(line, "0123456789abcdefABCDEF")
	switch n, err := strconv.ParseUint(string(line), 16, 62); {
	case len(rest) > 0 && len(rest) < len(line) && strings.IndexByte("; \t", rest[0]) >= 0:
		return 0, malformed("a chunk of the body has an extension")
	case err != nil || len(line) > maxChunkDigits:
		return 0, badFraming()
	default:
		return int64(n), nil
	}
}

func badFraming() *refusal.Error { return malformed("the chunked body is not well-formed") }

func token(s string) bool {
	for i := range len(s) {
		if !httpguts.IsTokenRune(rune(s[i])) {
			return false
		}
	}
	return s != ""
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
