package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func policyCommand(s streams) *cobra.Command {
	return group("policy", "Test, check and ship the Rego on top of the built-in policy",
		policyTestCommand(s), policyLintCommand(s), policyExplainCommand(s), policyReplayCommand(s), policyBuildCommand(s), policySignCommand(s))
}

func policyTestCommand(s streams) *cobra.Command {
	var file string
	var o app.PolicyTest
	cmd := &cobra.Command{
		Use:   "test [PATH...]",
		Short: "Run the tests of your rules, with the built-in policy around them",
		Long: `Runs the rules named test_… in files named …_test.rego under the paths, or under policy.paths of the configuration. The built-in
policy is loaded with them, and package countersign.testing has inputs to start from. Exit status 1 when a test fails, when there
is none, or when the sidecar would refuse the files.`,
		PreRunE: func(*cobra.Command, []string) error {
			if o.Threshold < 0 || o.Threshold > 100 {
				return fmt.Errorf("--threshold: want a percentage, not %g", o.Threshold)
			}
			return nil
		},
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := config.Load(file, config.OS())
			if err != nil {
				return err
			}
			sources, err := app.PolicySources(c, args)
			if err != nil {
				return err
			}
			return o.Test(ctx, sources, s.out)
		}),
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&o.Run, "run", "", "only tests whose package and name match this regular expression")
	cmd.Flags().BoolVar(&o.Coverage, "coverage", false, "say which lines of your rules no test reaches")
	cmd.Flags().Float64Var(&o.Threshold, "threshold", 0, "fail below this coverage, in per cent")
	cmd.Flags().BoolVarP(&o.Verbose, "verbose", "v", false, "name the tests that passed, too")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print one JSON document")
	return cmd
}

func policyExplainCommand(s streams) *cobra.Command {
	var file, at string
	var o app.ExplainOptions
	cmd := &cobra.Command{
		Use:   "explain [FILE|-]",
		Short: "Say why a request is decided as it is: which catalog entry, which rules",
		Long: `Reads requests in the form of check, one a line, and tells for each which catalog entry names it, which rules held, and at which
expression each of your other rules stopped. A line may also have "subject" (as policy sees it) and "time".`,
		Args: cobra.MaximumNArgs(1),
		PreRunE: func(*cobra.Command, []string) (err error) {
			if at != "" {
				if o.At, err = time.Parse(time.RFC3339, at); err != nil {
					return fmt.Errorf("--at: want a time such as 2026-11-24T10:00:00Z, not %q", at)
				}
			}
			return nil
		},
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := config.Load(file, config.OS())
			if err != nil {
				return err
			}
			checker, err := app.NewChecker(c, slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelError + 1})))
			if err != nil {
				return err
			}
			in, err := input(s.in, args)
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }() // it was only read
			bad, err := checker.Explain(ctx, o, in, s.out, s.err)
			if err == nil && bad > 0 {
				err = fmt.Errorf("%d lines could not be parsed", bad)
			}
			return err
		}),
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&o.Requester, "requester", "", "the attested requester, where the line has no subject")
	cmd.Flags().StringVar(&o.Ticket, "ticket", "", "the ticket, where the line has no subject")
	cmd.Flags().StringVar(&at, "at", "", "the time of the decision (RFC 3339), where the line has none; default: now")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print JSON documents, with the input as policy sees it")
	return cmd
}
