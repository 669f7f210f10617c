package main

import (
	"context"
	"log/slog"

	"countersign/internal/app"
	"countersign/internal/app/microsoft365"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func doctorCommand(s streams) *cobra.Command {
	var file string
	var hosts []string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Try what the configuration depends on, and say what to fix",
		Long: `Tries the policy, the interception CA, the keys of requester assertions, the ledger and every provider's credentials, compares the
clock with the providers', and connects to notification sinks and to the hosts given, or else to those that upstream.resolve, apis and
intercept name. Nobody is asked or told, no document is changed. Not tried: whether the agent has another way out. Exit status 0: all that was tried works; 1: something does not, and a line says what.`,
		Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error {
			c, err := config.Load(file, app.Environment())
			if err != nil {
				return err
			}
			o := app.Options{Config: c, Version: version, Logger: slog.New(slog.DiscardHandler), Providers: microsoft365.Providers()}
			return app.Doctor(ctx, o, hosts, s.out)
		}),
	}
	configFlag(cmd, &file)
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "an API's `host` to connect to, such as graph.microsoft.com; may be repeated")
	return cmd
}
