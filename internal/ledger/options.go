package ledger

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
)

// Secret is text that never prints.
type Secret string

// Format writes a placeholder whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) } // nothing to do about a failed print

// String returns a placeholder.
func (Secret) String() string { return "[secret]" }

// MarshalText returns a placeholder, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LogValue returns a placeholder, for slog.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Options say where a Ledger keeps its documents.
type Options struct {
	// URL lists the servers of a NATS cluster, separated by commas: nats://host:port, or tls:// where TLS is a must.
	// Empty: a server in this process, which opens no socket and keeps its files in Dir.
	URL string
	// Dir is the folder of the embedded server. A shared ledger does not use it.
	Dir string
	// Key seals the documents: at least MinKey bytes, the same on every replica. A shared ledger needs one; an embedded one makes
	// its own, in Dir, when there is none.
	Key Secret
	// OldKeys still open documents, and seal none. To change the key of a fleet, give every replica the new one here, then make
	// it Key with the old one here, and drop the old one a day later.
	OldKeys []Secret

	Credentials string           // a .creds file, or a file with an nkey seed
	RootCAs     *x509.CertPool   // who may vouch for the servers; nil: the system's roots
	Certificate *tls.Certificate // shown to servers that ask for one

	Replicas int    // copies of each document in a shared ledger; 0: 3
	Bucket   string // name of the key-value bucket; empty: countersign
	Logger   *slog.Logger
}

// MinKey is the least length of a key. `openssl rand -base64 32` makes one.
const MinKey = 32

const (
	defaultBucket   = "countersign"
	defaultReplicas = 3
)

var bucketName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// complete fills in defaults and refuses what cannot work, all at once.
func (o Options) complete() (Options, error) {
	var errs []error
	problem := func(text string) { errs = append(errs, errors.New(text)) }
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Bucket == "" {
		o.Bucket = defaultBucket
	}
	if !bucketName.MatchString(o.Bucket) {
		problem("bucket: must be of letters, digits, - and _, at most 64")
	}
	for _, key := range append([]Secret{o.Key}, o.OldKeys...) {
		if key != "" && len(key) < MinKey {
			problem(fmt.Sprintf("key: must have at least %d bytes; openssl rand -base64 32 makes one", MinKey))
			break
		}
	}
	if o.URL == "" {
		if o.Dir == "" {
			problem("dir: needed without a url")
		}
		if o.Replicas > 1 {
			problem("replicas: an embedded ledger keeps one copy; give a url for more")
		}
		o.Replicas = 1
		return o, errors.Join(errs...)
	}
	if o.Replicas == 0 {
		o.Replicas = defaultReplicas
	}
	if o.Replicas < 1 || o.Replicas > 5 || o.Replicas%2 == 0 {
		problem("replicas: must be 1, 3 or 5")
	}
	if o.Key == "" {
		problem("key: a shared ledger needs one, the same on every replica, or whoever can write to the bucket could approve")
	}
	if err := checkURL(o.URL); err != nil {
		errs = append(errs, err)
	}
	return o, errors.Join(errs...)
}

// checkURL refuses what the client would take for something else. No part of a URL is quoted: it may hold a password.
func checkURL(list string) error {
	for i, one := range servers(list) {
		u, err := url.Parse(one)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls" || u.Path != "" || u.RawQuery != "":
			return fmt.Errorf("url: server %d must be nats://host:port or tls://host:port", i+1)
		case u.User != nil:
			return fmt.Errorf("url: server %d names a user; put it into a credentials file", i+1)
		}
	}
	return nil
}

// servers splits a URL list. Those after the first may leave the scheme out, as NATS clients allow.
func servers(list string) []string {
	parts := strings.Split(list, ",")
	scheme, _, _ := strings.Cut(parts[0], "://")
	for i, p := range parts {
		p = strings.TrimSpace(p)
		if !strings.Contains(p, "://") && i > 0 {
			p = strings.TrimSpace(scheme) + "://" + p
		}
		parts[i] = p
	}
	return parts
}
