// Package zaplog lets certmagic, which logs with zap, write to slog.
package zaplog

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Bridge gives certmagic a zap logger that writes to logger, message before every line's own text. certmagic tells six times
// per certificate how well it goes; that is debug here. Its own debug lines, several per handshake, are dropped.
func Bridge(logger *slog.Logger, message string) *zap.Logger {
	return zap.New(&core{handler: logger.Handler(), message: message})
}

type core struct {
	handler slog.Handler
	message string
}

var _ zapcore.Core = (*core)(nil)

func slogLevel(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l >= zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

// Enabled reports whether a line of this level is wanted.
func (c *core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && c.handler.Enabled(context.Background(), slogLevel(l))
}

// With adds fields to every line.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{handler: c.handler.WithAttrs(attrs(fields)), message: c.message}
}

// Check takes part in writing e if its level is wanted.
func (c *core) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write passes one line on. certmagic's text is an attribute: the message is the same for all of its lines.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, slogLevel(e.Level), c.message, 0)
	r.AddAttrs(slog.String("event", e.Message), slog.String("component", e.LoggerName))
	r.AddAttrs(attrs(fields)...)
	return c.handler.Handle(context.Background(), r)
}

// Sync has nothing to flush.
func (c *core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		f.AddTo(enc)
		if v, ok := enc.Fields[f.Key]; ok {
			out = append(out, slog.Any(f.Key, v))
		}
	}
	return out
}
