package intercept_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/proxy/intercept"
)

// hello returns the octets of a real ClientHello.
func hello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() {
		_ = tls.Client(here, cfg).HandshakeContext(t.Context()) // fails when the other side closes
		_ = here.Close()
	}()
	buf := make([]byte, 64<<10)
	head := buf[:5]
	if _, err := io.ReadFull(there, head); err != nil {
		t.Fatal(err)
	}
	n := 5 + int(head[3])<<8 + int(head[4])
	if _, err := io.ReadFull(there, buf[5:n]); err != nil {
		t.Fatal(err)
	}
	_ = there.Close()
	return buf[:n]
}

// refragment splits one handshake record into records of size octets.
func refragment(record []byte, size int) []byte {
	var out []byte
	for rest := record[5:]; len(rest) > 0; {
		n := min(size, len(rest))
		out = append(out, record[0], record[1], record[2], byte(n>>8), byte(n))
		out = append(out, rest[:n]...)
		rest = rest[n:]
	}
	return out
}

func peek(t testing.TB, octets []byte) (string, net.Conn, error) {
	t.Helper()
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	go func() {
		_, _ = here.Write(octets) // cut short when the test ends
		_ = here.Close()
	}()
	return intercept.PeekClientHello(t.Context(), there)
}

func TestPeekingReadsTheNameAndGivesEverythingBack(t *testing.T) {
	plain := hello(t, &tls.Config{ServerName: "pypi.org", MinVersion: tls.VersionTLS12})
	for name, octets := range map[string][]byte{
		"one record":       plain,
		"small records":    refragment(plain, 100),
		"and what follows": append(bytes.Clone(plain), "early data"...),
	} {
		sni, replay, err := peek(t, octets)
		if err != nil || sni != "pypi.org" {
			t.Errorf("%s: %q, %v", name, sni, err)
			continue
		}
		if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, octets) {
			t.Errorf("%s: %d of %d octets came back, %v", name, len(got), len(octets), err)
		}
	}
	sni, _, err := peek(t, hello(t, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})) // only so is no name sent
	if err != nil || sni != "" {
		t.Errorf("no name: %q, %v", sni, err)
	}
}

func TestPeekingTakesNothingButAClientHello(t *testing.T) {
	plain := hello(t, &tls.Config{ServerName: "pypi.org", MinVersion: tls.VersionTLS12})
	for name, octets := range map[string][]byte{
		"HTTP":                          []byte("GET / HTTP/1.1\r\nHost: pypi.org\r\n\r\n"),
		"SSH":                           []byte("SSH-2.0-OpenSSH_9.9\r\n"),
		"SOCKS":                         {5, 1, 0},
		"nothing":                       {},
		"half":                          plain[:len(plain)/2],
		"an alert":                      {0x15, 3, 1, 0, 2, 2, 40},
		"SSL 2":                         append([]byte{0x80, 0x2e, 1, 0, 2}, make([]byte, 43)...),
		"one octet at a time, for ever": refragment(append(append([]byte{}, 0x16, 3, 1, 0, 0), append([]byte{1, 0, 0xff, 0xff}, make([]byte, 40<<10)...)...), 1),
	} {
		if sni, _, err := peek(t, octets); !errors.Is(err, intercept.ErrNotTLS) {
			t.Errorf("%s: %q, %v, want ErrNotTLS", name, sni, err)
		}
	}
}

func TestTwoServerNamesAreRefused(t *testing.T) {
	record := hello(t, &tls.Config{ServerName: "pypi.org", MinVersion: tls.VersionTLS12})
	// The server_name extension once more at the end of the extensions, with another name: servers differ in which they read.
	name := "evil.com"
	ext := []byte{0, 0, 0, byte(len(name) + 5), 0, byte(len(name) + 3), 0, 0, byte(len(name))}
	ext = append(ext, name...)
	body := record[5:]
	at := 4 + 2 + 32
	at += 1 + int(body[at])
	at += 2 + int(body[at])<<8 + int(body[at+1])
	at += 1 + int(body[at])
	extLen := int(body[at])<<8 + int(body[at+1]) + len(ext)
	out := append(bytes.Clone(body), ext...)
	out[at], out[at+1] = byte(extLen>>8), byte(extLen)
	n := len(out) - 4
	out[1], out[2], out[3] = byte(n>>16), byte(n>>8), byte(n)
	out = append([]byte{record[0], record[1], record[2], byte(len(out) >> 8), byte(len(out))}, out...)
	if sni, _, err := peek(t, out); !errors.Is(err, intercept.ErrNotTLS) {
		t.Errorf("%q, %v, want ErrNotTLS", sni, err)
	}
}

func TestANameThatIsNoHostsIsRefused(t *testing.T) {
	plain := hello(t, &tls.Config{ServerName: "pypi.org", MinVersion: tls.VersionTLS12})
	for _, name := range []string{"pypi\x00org", "pypi/org", "pypi org", "pypi\xc3org"} {
		octets := bytes.Replace(plain, []byte("pypi.org"), []byte(name), 1)
		if sni, _, err := peek(t, octets); !errors.Is(err, intercept.ErrSNI) {
			t.Errorf("%q: %q, %v, want ErrSNI", name, sni, err)
		}
	}
	if sni, _, err := peek(t, bytes.Replace(plain, []byte("pypi.org"), []byte("PyPI.ORG"), 1)); err != nil || sni != "pypi.org" {
		t.Errorf("capitals: %q, %v", sni, err)
	}
}

func TestPeekingWaitsTenSecondsAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer func() { _ = here.Close() }()
		defer func() { _ = there.Close() }()
		start := time.Now()
		_, _, err := intercept.PeekClientHello(t.Context(), there)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		// The connection is the caller's still, without a deadline.
		go func() { _, _ = here.Write([]byte("x")) }()
		if _, err := there.Read(make([]byte, 1)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestPeekingSaysThatTheConnectionFailed(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _ = here.Close() }()
	defer func() { _ = there.Close() }()
	if err := there.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, _, err := intercept.PeekClientHello(t.Context(), there)
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, intercept.ErrNotTLS) {
		t.Errorf("got %v", err)
	}
}

func TestAReplayedConnectionClosesOneSideAtATime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	plain := hello(t, &tls.Config{ServerName: "pypi.org", MinVersion: tls.VersionTLS12})
	dialled, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dialled.Close() }()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	if _, err := dialled.Write(plain); err != nil {
		t.Fatal(err)
	}
	_, replay, err := intercept.PeekClientHello(t.Context(), accepted)
	if err != nil {
		t.Fatal(err)
	}
	half, ok := replay.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		t.Fatal("it cannot close its sending side")
	}
	if _, err := dialled.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the other side read %v, want EOF and not a byte", err)
	}
}

func FuzzPeekClientHello(f *testing.F) {
	plain := hello(f, &tls.Config{ServerName: "pypi.org", MinVersion: tls.VersionTLS12})
	f.Add(plain)
	f.Add(refragment(plain, 7))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		sni, replay, err := peek(t, octets)
		if err != nil {
			if replay != nil || sni != "" {
				t.Fatal("an error with a connection or a name")
			}
			return
		}
		if got, err := io.ReadAll(replay); err != nil || !bytes.Equal(got, octets) {
			t.Fatalf("%d of %d octets came back, %v", len(got), len(octets), err)
		}
		if strings.ContainsFunc(sni, func(r rune) bool { return r <= ' ' || r > '~' || r >= 'A' && r <= 'Z' }) {
			t.Fatalf("name %q", sni)
		}
	})
}
