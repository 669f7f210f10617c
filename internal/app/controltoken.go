package app

import (
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"countersign/internal/config"
)

// tokenLook is how often the file of the operators' token is looked at.
const tokenLook = time.Second

// rotating is a secret that is read anew when its file changes. A secret from elsewhere never changes.
type rotating struct {
	file string
	log  *slog.Logger

	mu      sync.Mutex
	value   string
	changed time.Time
	looked  time.Time
}

func newRotating(s config.Secret, log *slog.Logger) *rotating {
	return &rotating{file: s.File(), value: s.Reveal(), log: log}
}

// get returns the secret as its file has it now. A file that is gone leaves the last value in force; an empty one lets nobody in.
func (r *rotating) get() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == "" || time.Since(r.looked) < tokenLook {
		return r.value
	}
	r.looked = time.Now()
	info, err := os.Stat(r.file)
	if err == nil && info.ModTime().Equal(r.changed) {
		return r.value
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(r.file)
	}
	if err != nil {
		r.log.Error("token file cannot be read: the last token stays in force", slog.Any("error", err))
		return r.value
	}
	r.value, r.changed = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), info.ModTime()
	return r.value
}
