// Package demo shows the main job on one machine, without an account or a network: a simulated Microsoft Graph, a simulated
// Duo with its phone, and the real sidecar between them and an agent.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"countersign/internal/sim/duo"
)

// Answers are what the simulated person can be told to do.
var answers = []string{"approve", "deny", "ignore", "fraud"}

// ErrAnswer is the error of an answer that nobody can give.
var ErrAnswer = errors.New("demo: unknown answer")

// CheckAnswer reports whether Options.Answer is one of approve, deny, ignore, fraud or "".
func CheckAnswer(answer string) error {
	if answer != "" && !slices.Contains(answers, answer) {
		return fmt.Errorf("%w %q: use approve, deny, ignore or fraud", ErrAnswer, answer)
	}
	return nil
}

// Options say how the demo runs.
type Options struct {
	Answer string    // what the person does; "" waits for one at the phone page
	Out    io.Writer // the story, step by step
	Log    io.Writer // the sidecar's own log; nil: kept quiet
}

// Run plays the demo in a folder of its own, which is gone afterwards. With an answer it returns an error unless the
// allowed call passed, the held one ended as the answer says, and the refused one was refused.
func Run(ctx context.Context, o Options) (err error) {
	if err := CheckAnswer(o.Answer); err != nil {
		return err
	}
	logs := o.Log
	if logs == nil {
		logs = io.Discard
	}
	stage, err := open(ctx, o.Answer, slog.New(slog.NewTextHandler(logs, nil)))
	if err != nil {
		return fmt.Errorf("set up the demo: %w", err)
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	s := &story{out: o.Out, stage: stage, answer: o.Answer}
	for _, scene := range []func(context.Context) error{s.intro, s.allowed, s.held, s.refused} {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	// The journal is read when the sidecar has stopped, as an auditor would.
	if err := stage.stop(); err != nil {
		return fmt.Errorf("stop the sidecar: %w", err)
	}
	return s.record(ctx)
}

// script makes the simulated person do as told.
func script(answer string) (duo.Script, time.Duration) {
	const life = time.Minute // Duo's own
	switch answer {
	case "approve":
		return duo.Approve(), life
	case "deny":
		return duo.Deny(), life
	case "fraud":
		return duo.Fraud(), life
	case "ignore":
		return duo.Ignore(), 3 * time.Second // nobody wants to watch a minute of nothing
	default:
		return duo.Script{}, 5 * time.Minute // a person who reads first
	}
}
