package ledger

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Open opens a ledger on JetStream. An embedded one is ready when it returns. A shared one may not be reached yet: it goes on
// trying, and until it succeeds Ready says so and every call fails. What is wrong with the options is an error at once.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	o, err := o.complete()
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if o.URL == "" {
		return openEmbedded(ctx, o)
	}
	box, err := newBox(o.Bucket, append([]Secret{o.Key}, o.OldKeys...)...)
	if err != nil {
		return nil, err
	}
	opts, err := remote(o)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	nc, err := nats.Connect(strings.Join(servers(o.URL), ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("ledger: connect: %w", err)
	}
	return newLedger(o, nc, box, false)
}

func newLedger(o Options, nc *nats.Conn, b *box, mustExist bool) (*Ledger, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerTime))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Ledger{o: o, nc: nc, js: js, box: b, bucket: newBucket(o, mustExist), ends: map[int]context.CancelFunc{}}
	l.barrier.write = l.probe
	return l, nil
}

// remote are the options of a connection to a cluster. A write while there is none fails at once: kept in a buffer it would be
// sent when its caller has long given up.
func remote(o Options) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("countersign"),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.Timeout(answerTime),
		nats.PingInterval(answerTime),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { o.Logger.Warn("ledger: connection lost", "error", err) }),
		nats.ConnectHandler(func(*nats.Conn) { o.Logger.Info("ledger: connected") }),
		nats.ReconnectHandler(func(*nats.Conn) { o.Logger.Info("ledger: connected again") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			o.Logger.Warn("ledger: connection complains", "error", err)
		}),
	}
	secured := slices.ContainsFunc(servers(o.URL), func(u string) bool { return strings.HasPrefix(u, "tls:") })
	if secured || o.RootCAs != nil || o.Certificate != nil {
		c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs}
		if o.Certificate != nil {
			c.Certificates = []tls.Certificate{*o.Certificate}
		}
		opts = append(opts, nats.Secure(c))
	}
	if o.Credentials == "" {
		return opts, nil
	}
	with, err := credentials(o.Credentials)
	if err != nil {
		return nil, err
	}
	return append(opts, with), nil
}

// credentials tells the two kinds of file apart. Both are read again at each connection, so they can be replaced.
func credentials(file string) (nats.Option, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	if strings.Contains(string(b), "-----BEGIN NATS USER JWT-----") {
		return nats.UserCredentials(file), nil
	}
	option, err := nats.NkeyOptionFromSeed(file)
	if err != nil { // not wrapped: it may quote the file
		return nil, errors.New("read credentials: neither a .creds file nor one with an nkey seed")
	}
	return option, nil
}

func sorted(s []string) []string { slices.Sort(s); return s }
