package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"countersign/internal/hold"
	"countersign/internal/ledger"
)

// intruder is somebody with full access to the bucket, and without the key.
type intruder struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

const subjects = "$KV.countersign."

func intrude(t *testing.T, url string) *intruder {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_countersign")
	if err != nil {
		t.Fatal(err)
	}
	return &intruder{js: js, stream: s}
}

func (i *intruder) read(t *testing.T, key string) []byte {
	t.Helper()
	m, err := i.stream.GetLastMsgForSubject(t.Context(), subjects+key)
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

func (i *intruder) write(t *testing.T, key string, value []byte) {
	t.Helper()
	if _, err := i.js.Publish(t.Context(), subjects+key, value); err != nil {
		t.Fatal(err)
	}
}

func single(url string) ledger.Options { return ledger.Options{URL: url, Replicas: 1, Key: testKey} }

func TestWhoCanWriteToTheBucketApprovesNothing(t *testing.T) {
	s := start(t, server.Options{})
	l := open(t, single(s.ClientURL()))
	rev := create(t, l, "hold.a", "pending")
	rev = replace(t, l, "hold.a", "approved", rev)
	create(t, l, "hold.b", "pending")
	in := intrude(t, s.ClientURL())
	approved := in.read(t, "hold.a")
	if got := string(approved); len(got) == 0 || bytes.Contains(approved, []byte("approved")) {
		t.Errorf("the bucket holds %q, which tells what it is", got)
	}
	replace(t, l, "hold.a", "spent", rev)
	changed := append([]byte{}, approved...)
	changed[len(changed)-1] ^= 1
	backdated := append([]byte{}, approved...)
	backdated[12] = 0 // the revision it replaced
	for name, attack := range map[string]struct {
		key   string
		value []byte
	}{
		"plain text":                    {"hold.b", []byte("approved")},
		"nothing":                       {"hold.b", nil},
		"a changed document":            {"hold.b", changed},
		"another hold's approval":       {"hold.b", approved},
		"an approval that was spent":    {"hold.a", approved},
		"one that claims to be a first": {"hold.a", backdated},
	} {
		in.write(t, attack.key, attack.value)
		if e, err := l.Load(t.Context(), attack.key); !errors.Is(err, ledger.ErrUnauthentic) || !errors.Is(err, hold.ErrLedger) {
			t.Errorf("%s: Load = %q, %v, want ErrUnauthentic", name, e.Value, err)
		}
	}
	create(t, l, "hold.c", "good")
	var seen []string
	for e, err := range l.Watch(t.Context(), "hold.") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Key == "" {
			break
		}
		seen = append(seen, e.Key)
	}
	if len(seen) != 1 || seen[0] != "hold.c" {
		t.Errorf("a watch yields %v, want only the authentic hold.c", seen)
	}
	if err := l.Ready(t.Context()); !errors.Is(err, ledger.ErrUnauthentic) {
		t.Errorf("Ready = %v, want what the watch met", err)
	}
}

func TestAnotherKeyOpensNothing(t *testing.T) {
	s := start(t, server.Options{})
	create(t, open(t, single(s.ClientURL())), "hold.a", "approved")
	o := single(s.ClientURL())
	o.Key = "another key of the tests, also not less than 32 bytes"
	if e, err := open(t, o).Load(t.Context(), "hold.a"); !errors.Is(err, ledger.ErrUnauthentic) {
		t.Errorf("Load = %q, %v, want ErrUnauthentic", e.Value, err)
	}
	o.OldKeys = []ledger.Secret{testKey}
	both := open(t, o)
	e, err := both.Load(t.Context(), "hold.a")
	if err != nil || string(e.Value) != "approved" {
		t.Fatalf("Load with the old key = %q, %v, want approved", e.Value, err)
	}
	replace(t, both, "hold.a", "spent", e.Rev)
	if e, err := open(t, single(s.ClientURL())).Load(t.Context(), "hold.a"); !errors.Is(err, ledger.ErrUnauthentic) {
		t.Errorf("the old key alone reads what the new one sealed: %q, %v", e.Value, err)
	}
}

func TestABucketThatWouldLoseDocumentsIsRefused(t *testing.T) {
	good := jetstream.StreamConfig{
		Name: "KV_countersign", Subjects: []string{subjects + ">"}, MaxMsgsPerSubject: 1, AllowRollup: true, DenyDelete: true,
		Discard: jetstream.DiscardNew, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Minute, AllowDirect: true,
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"":                   func(*jetstream.StreamConfig) {},
		"a history":          func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 5 },
		"an age":             func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"memory":             func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"no TTLs":            func(c *jetstream.StreamConfig) { c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = false, 0 },
		"old documents drop": func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardOld, 100 },
		"small documents":    func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 },
		"no acknowledgement": func(c *jetstream.StreamConfig) { c.NoAck = true },
		"other subjects too": func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more") },
	} {
		s := start(t, server.Options{})
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		c := good
		change(&c)
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l := openAny(t, single(s.ClientURL()))
		_, err = l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("x")})
		if refused := errors.Is(err, hold.ErrLedger); refused != (name != "") {
			t.Errorf("bucket with %q: Store = %v", name, err)
		}
		if err := l.Ready(t.Context()); (err != nil) != (name != "") {
			t.Errorf("bucket with %q: Ready = %v", name, err)
		}
	}
}

func TestABucketWithFewerReplicasThanAskedForIsRefused(t *testing.T) {
	s := start(t, server.Options{})
	create(t, open(t, single(s.ClientURL())), "hold.a", "x")
	o := single(s.ClientURL())
	o.Replicas = 3
	if _, err := openAny(t, o).Load(t.Context(), "hold.a"); !errors.Is(err, hold.ErrLedger) {
		t.Errorf("Load = %v, want ErrLedger", err)
	}
}

func TestALedgerThatIsAwayAtTheStartIsReadyOnceItIsThere(t *testing.T) {
	door := newLink(t)
	l := openAny(t, single("nats://"+door.addr()))
	if err := l.Ready(t.Context()); !errors.Is(err, hold.ErrLedger) {
		t.Errorf("Ready = %v, want ErrLedger", err)
	}
	if _, err := l.Load(t.Context(), "hold.a"); !errors.Is(err, hold.ErrLedger) {
		t.Errorf("Load = %v, want ErrLedger", err)
	}
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("x")}); !errors.Is(err, hold.ErrLedger) {
		t.Errorf("Store = %v, want ErrLedger", err)
	}
	s := start(t, server.Options{})
	door.to(s.Addr().String())
	ready(t, l)
	if e, err := l.Load(t.Context(), "hold.a"); err != nil || e.Value != nil {
		t.Errorf("Load = %q, %v: a store that failed was done later", e.Value, err)
	}
	rev := create(t, l, "hold.a", "one")
	door.set(true)
	if _, err := l.Store(t.Context(), hold.Entry{Key: "hold.a", Value: []byte("two"), Rev: rev}); err == nil {
		t.Error("Store went through a cut line")
	}
	door.set(false)
	ready(t, l)
	replace(t, l, "hold.a", "two", rev)
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	s := start(t, server.Options{})
	l := open(t, single(s.ClientURL()))
	var last error
	for e, err := range l.Watch(t.Context(), "") {
		last = err
		if err == nil && e.Key == "" {
			go func() { _ = l.Close(context.Background()) }() // waits for this watch
		}
	}
	if !errors.Is(last, ledger.ErrClosed) {
		t.Errorf("the watch ended with %v, want ErrClosed", last)
	}
	if err := l.Ready(t.Context()); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Ready = %v, want ErrClosed", err)
	}
}

func replace(t *testing.T, l hold.Ledger, key, value string, rev uint64) uint64 {
	t.Helper()
	rev, err := l.Store(t.Context(), hold.Entry{Key: key, Value: []byte(value), Rev: rev})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}
