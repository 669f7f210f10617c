// Command notify receives Countersign's signed webhooks and prints them: go run ./examples/notify -listen 127.0.0.1:9999.
// The secret is in WEBHOOK_SECRET.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxBody   = 1 << 20
	tolerance = 5 * time.Minute // of the time that is signed
	maxSeen   = 10_000
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("notify", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:9999", "`address` to listen on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil || len(key) < 24 {
		return errors.New("WEBHOOK_SECRET must be whsec_ and at least 24 bytes in base64")
	}
	server := &http.Server{Addr: *listen, Handler: &receiver{key: key, out: out, now: time.Now}, ReadTimeout: 10 * time.Second}
	end := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer end()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// receiver takes each event that was signed with its key, once.
type receiver struct {
	key []byte
	out io.Writer
	now func() time.Time

	mu   sync.Mutex
	seen []string // ids, oldest first: a database in earnest
}

func (v *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "not readable", http.StatusBadRequest)
		return
	}
	if !v.signed(r.Header, body) {
		http.Error(w, "not from Countersign", http.StatusUnauthorized)
		return
	}
	var event struct {
		ID, Type string
		Data     struct{ Requester, Ticket, State, Summary, Advice string }
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "no event", http.StatusBadRequest)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !slices.Contains(v.seen, event.ID) { // the same event may come twice
		v.seen = append(v.seen[max(0, len(v.seen)-maxSeen):], event.ID)
		fmt.Fprintf(v.out, "%s: %q for %q, ticket %q. %s\n", event.Type, event.Data.Summary, event.Data.Requester, event.Data.Ticket, strconv.Quote(event.Data.Advice))
	}
	w.WriteHeader(http.StatusNoContent) // at once, and only when the event is safe
}

// signed verifies a signature as Standard Webhooks say, over the bytes as they came.
func (v *receiver) signed(h http.Header, body []byte) bool {
	id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || v.now().Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, v.key)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return slices.ContainsFunc(strings.Fields(h.Get("Webhook-Signature")), func(got string) bool { return hmac.Equal([]byte(got), []byte(want)) })
}
