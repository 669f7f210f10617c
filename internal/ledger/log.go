package ledger

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// bridge brings the embedded server's log to ours. What it says matters when it does not start, so the last complaints are kept.
type bridge struct {
	log *slog.Logger

	mu         sync.Mutex
	complaints []string
}

var _ server.Logger = (*bridge)(nil)

const serverSays = "ledger: embedded server"

// Noticef is part of server.Logger.
func (b *bridge) Noticef(format string, v ...any) { b.log.Debug(serverSays, "text", say(format, v)) }

// Debugf is part of server.Logger.
func (b *bridge) Debugf(format string, v ...any) { b.log.Debug(serverSays, "text", say(format, v)) }

// Tracef is part of server.Logger.
func (b *bridge) Tracef(string, ...any) {}

// Warnf is part of server.Logger.
func (b *bridge) Warnf(format string, v ...any) {
	b.log.Debug(serverSays, "level", "warn", "text", b.keep(say(format, v)))
}

// Errorf is part of server.Logger.
func (b *bridge) Errorf(format string, v ...any) {
	b.log.Error(serverSays, "text", b.keep(say(format, v)))
}

// Fatalf is part of server.Logger. It does not end the process: Open sees that the server is not there.
func (b *bridge) Fatalf(format string, v ...any) {
	b.log.Error(serverSays, "text", b.keep(say(format, v)))
}

func say(format string, v []any) string { return strings.TrimSpace(fmt.Sprintf(format, v...)) }

func (b *bridge) keep(text string) string {
	const most = 5
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.complaints = append(b.complaints, text); len(b.complaints) > most {
		b.complaints = slices.Delete(b.complaints, 0, 1)
	}
	return text
}

// said returns the last complaints.
func (b *bridge) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.complaints, "; ")
}
