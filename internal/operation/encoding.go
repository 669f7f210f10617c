package operation

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what one zstd frame may make the decoder hold; RFC 8878 §3.1.1.1.2 asks decoders for 8 MiB.
const maxWindow = 8 << 20

var (
	errTooLarge  = errors.New("larger than the limit")
	errNotSingle = errors.New("not a single complete member")
)

// decodeContent takes the content coding off. One coding, one member, nothing after it. A body that claims a coding it
// is not in, but is plainly what its content type says, is read as it is and reported (design §3.5).
func (p *Parser) decodeContent(raw []byte, h header, fold bool) (octets []byte, falseLabel bool, err error) {
	if int64(len(raw)) > p.maxDecoded {
		return nil, false, refuse("the body is larger than the limit")
	}
	if len(h.encodings) == 0 {
		return raw, false, nil
	}
	if len(h.encodings) > 1 {
		return nil, false, refuse("the content encoding is stacked")
	}
	var open func([]byte) (io.ReadCloser, error)
	switch h.encodings[0] {
	case "identity":
		return raw, false, nil
	case "gzip", "x-gzip": // RFC 9110 §8.4.1.3: one and the same
		open = openGzip
	case "deflate":
		open = openZlib
	case "br":
		open = openBrotli
	case "zstd":
		open = openZstd
	default:
		return nil, false, refuse("the content encoding is unknown")
	}
	if len(raw) == 0 {
		return nil, true, nil
	}
	plainly := isPlainly(raw, h.contentType, fold)
	octets, err = p.inflate(raw, open)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, false, refuse("the decoded body is larger than the limit")
	case err != nil && plainly:
		return raw, true, nil
	case err != nil:
		return nil, false, refuse("the body is not one complete member of its content encoding")
	case plainly:
		return nil, false, refuse("the body can be read encoded and plain")
	default:
		return octets, false, nil
	}
}

func (p *Parser) inflate(raw []byte, open func([]byte) (io.ReadCloser, error)) ([]byte, error) {
	r, err := open(raw)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = out.ReadFrom(io.LimitReader(r, p.maxDecoded+1))
	if int64(out.Len()) > p.maxDecoded {
		err = errTooLarge // whatever else is wrong with it
	}
	if closed := r.Close(); err == nil {
		err = closed
	}
	return out.Bytes(), err
}

// isPlainly reports whether octets are a document of their content type as they stand.
func isPlainly(octets []byte, ct contentType, fold bool) bool {
	switch kindOf(ct) {
	case kindJSON:
		v, err := decodeJSON(octets, fold)
		if err != nil {
			return false
		}
		switch v.(type) {
		case map[string]any, []any:
			return true
		default:
			return false
		}
	case kindForm:
		if bytes.IndexByte(octets, '=') <= 0 {
			return false
		}
		_, err := decodeForm(octets)
		return err == nil
	default:
		return false
	}
}

// single is a decoder over bytes that must have used them all when it ends.
type single struct {
	io.Reader
	rest  *bytes.Reader
	close func() error
}

func (s single) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if errors.Is(err, io.EOF) && s.rest.Len() > 0 {
		return n, errNotSingle
	}
	return n, err
}

func (s single) Close() error { return s.close() }

func openGzip(raw []byte) (io.ReadCloser, error) {
	src := bytes.NewReader(raw) // an io.ByteReader: the decoder reads no further than the member
	z, err := gzip.NewReader(src)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return single{z, src, z.Close}, nil
}

func openZlib(raw []byte) (io.ReadCloser, error) {
	src := bytes.NewReader(raw)
	z, err := zlib.NewReader(src)
	if err != nil {
		return nil, err
	}
	return single{z, src, z.Close}, nil
}

func openBrotli(raw []byte) (io.ReadCloser, error) {
	return io.NopCloser(brotli.NewReader(bytes.NewReader(raw))), nil // reports excessive input by itself
}

func openZstd(raw []byte) (io.ReadCloser, error) {
	if !isOneFrame(raw) {
		return nil, errNotSingle
	}
	z, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// isOneFrame walks the blocks of a zstd frame (RFC 8878 §3.1.1), because the decoder itself goes on to a next frame.
func isOneFrame(raw []byte) bool {
	var h zstd.Header
	if err := h.Decode(raw); err != nil || h.Skippable || h.DictionaryID != 0 {
		return false
	}
	at := h.HeaderSize
	for last := false; !last; {
		if at+3 > len(raw) {
			return false
		}
		b := uint32(raw[at]) | uint32(raw[at+1])<<8 | uint32(raw[at+2])<<16
		last = b&1 == 1
		size := int(b >> 3)
		switch b >> 1 & 3 {
		case 1:
			size = 1 // one byte, repeated
		case 3:
			return false
		}
		at += 3 + size
	}
	if h.HasCheckSum {
		at += 4
	}
	return at == len(raw)
}
