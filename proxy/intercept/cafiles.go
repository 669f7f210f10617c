package intercept

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

const (
	certFile   = "ca.crt"
	keyFile    = "ca.key"
	maxCAFile  = 1 << 20
	dirMode    = 0o700
	keyMode    = 0o600
	certMode   = 0o644
	othersBits = 0o007
)

// LoadOrCreateCA returns the authority kept in dir as ca.crt and ca.key, and makes it if neither is there. now is the
// clock; nil is the real one. Nothing is ever overwritten. Each file appears whole or not at all, by a link that only the
// first of two processes can make; the other then reads what the first wrote, and both have the same authority.
func LoadOrCreateCA(dir string, now func() time.Time) (*CA, error) {
	if now == nil {
		now = time.Now
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("intercept: make CA directory: %w", err)
	}
	certPath, keyPath := filepath.Join(dir, certFile), filepath.Join(dir, keyFile)
	// The key comes first and the certificate is made for it. A process that dies in between leaves a key alone, for which
	// the next one makes the certificate.
	keyPEM, err := readKey(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Lstat(certPath); statErr == nil {
			return nil, fmt.Errorf("intercept: %s is there and %s is not: restore the key, or remove the certificate to get a new CA", certFile, keyFile)
		}
		keyPEM, err = createKey(keyPath)
	}
	if err != nil {
		return nil, err
	}
	certPEM, err := readBounded(certPath)
	if errors.Is(err, fs.ErrNotExist) {
		certPEM, err = createCert(certPath, keyPEM, now())
	}
	if err != nil {
		return nil, err
	}
	return parseCA(certPEM, keyPEM, now)
}

// LoadCAFiles reads an authority of the operator's own from two files. It refuses a key file that others can read.
func LoadCAFiles(certPath, keyPath string) (*CA, error) {
	certPEM, err := readBounded(certPath)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readKey(keyPath)
	if err != nil {
		return nil, err
	}
	return LoadCA(certPEM, keyPEM)
}

func createKey(path string) ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, errors.New("intercept: encode the CA key") // the cause may quote key material
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
	if err := writeOnce(path, text, keyMode); errors.Is(err, fs.ErrExist) {
		return readKey(path)
	} else if err != nil {
		return nil, err
	}
	return text, nil
}

func createCert(path string, keyPEM []byte, now time.Time) ([]byte, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	text, err := selfSign(key, now)
	if err != nil {
		return nil, err
	}
	if err := writeOnce(path, text, certMode); errors.Is(err, fs.ErrExist) {
		return readBounded(path)
	} else if err != nil {
		return nil, err
	}
	return text, nil
}

// readKey reads a key file after a look at who else may.
func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("intercept: read CA key: %w", err)
	}
	// Windows keeps no such bits. Group access is common where a volume is mounted for a pod's group.
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&othersBits != 0 {
		return nil, fmt.Errorf("intercept: %s has mode %04o, which lets everybody at the key: chmod 600 it, and make a new CA if others could read it", path, perm)
	}
	return readBounded(path)
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("intercept: read CA file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxCAFile {
		return nil, fmt.Errorf("intercept: %s is not a PEM file", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("intercept: read CA file: %w", err)
	}
	return text, nil
}

// writeOnce makes path with all of text in it, synced, or fails with fs.ErrExist if it is there already.
func writeOnce(path string, text []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("intercept: write CA file: %w", err)
	}
	defer func() {
		_ = tmp.Close()           // closed below on success; a second close changes nothing
		_ = os.Remove(tmp.Name()) // the link keeps the content
	}()
	if _, err := tmp.Write(text); err != nil {
		return fmt.Errorf("intercept: write CA file: %w", err)
	}
	if err := errors.Join(tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("intercept: write CA file: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return fmt.Errorf("intercept: write CA file: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be opened for syncing there
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("intercept: sync CA directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("intercept: sync CA directory: %w", err)
	}
	return nil
}
