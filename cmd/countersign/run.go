package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"countersign/internal/app"
	"countersign/internal/app/microsoft365"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func runCommand(s streams) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the sidecar",
		Long: `Runs the sidecar until SIGTERM or interrupt. On a stop, waiting callers get 503 and nothing is executed; pending
verifications are withdrawn, or with a shared ledger left for the other replicas. A second signal ends it at once.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error {
			c, err := config.Load(file, app.Environment())
			if err != nil {
				return err
			}
			app.TuneGC()
			sidecar, err := app.New(ctx, app.Options{
				Config: c, Version: version, Logger: logger(c.Telemetry.Log, s.err), Providers: microsoft365.Providers(),
			})
			if err != nil {
				return err
			}
			return sidecar.Run(ctx)
		}),
	}
	configFlag(cmd, &file)
	return cmd
}

// logger writes the operational log, as configured.
func logger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // config.Load accepts the four names only
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

func caCommand(s streams) *cobra.Command {
	var file string
	load := func() (app.Trust, error) {
		c, err := config.Load(file, config.OS())
		if err != nil {
			return app.Trust{}, err
		}
		return app.OpenTrust(c)
	}
	sub := func(use, short string, work func(app.Trust) error) *cobra.Command {
		cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: does(func(context.Context, []string) error {
			t, err := load()
			if err != nil {
				return err
			}
			return work(t)
		})}
		configFlag(cmd, &file)
		return cmd
	}
	return group("ca", "The interception CA: make it, show it, make clients trust it",
		sub("init", "Make the CA if there is none, and print where it is", func(t app.Trust) error {
			_, err := fmt.Fprintln(s.out, t.CertFile)
			return err
		}),
		sub("show", "Print the CA's certificate and what it says", func(t app.Trust) error { return t.Show(s.out) }),
		sub("env", "Print the environment that makes curl, Python, Node, Go and Java trust the CA", func(t app.Trust) error { return t.Env(s.out, s.err) }),
	)
}
