package main

import (
	"context"
	"fmt"

	"countersign/internal/app"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func policyCommand(s streams) *cobra.Command {
	return group("policy", "Test, check and ship the Rego on top of the built-in policy",
		policyTestCommand(s))
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
