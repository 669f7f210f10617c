package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"countersign/internal/app"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func policyReplayCommand(s streams) *cobra.Command {
	var file string
	var o app.ReplayOptions
	var fail bool
	cmd := &cobra.Command{
		Use:   "replay --policy PATH... JOURNAL|HAR",
		Short: "Say what a changed policy would have decided on recorded calls",
		Long: `Reads a journal, or a HAR file, and asks the policy under --policy, in place of policy.paths, about every call in it, at the time of
the call. A journal has what was decided; for a HAR file the configured policy is asked, too. A journal has neither bodies nor
headers, query nor claims: where a rule reads one of them, the answer is "unknown".`,
		Args: cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if len(o.Policy) == 0 {
				return errors.New("--policy is missing: the files that policy.paths would name")
			}
			return nil
		},
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := config.Load(file, config.OS())
			if err != nil {
				return err
			}
			r, err := app.NewReplayer(c, o, slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelError + 1})))
			if err != nil {
				return err
			}
			in, err := input(s.in, args)
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }() // it was only read
			n, err := r.Run(ctx, in, s.out)
			if err == nil && fail && n.Changed > 0 {
				err = fmt.Errorf("%d decisions would change", n.Changed)
			}
			return err
		}),
	}
	configFlag(cmd, &file)
	cmd.Flags().StringSliceVar(&o.Policy, "policy", nil, "files or folders of the changed policy; may be given more than once")
	cmd.Flags().StringVar(&o.Requester, "requester", "", "the attested requester of a HAR file's calls")
	cmd.Flags().BoolVar(&o.All, "all", false, "list decisions that stay the same, too")
	cmd.Flags().BoolVar(&fail, "fail-on-change", false, "exit status 1 if a decision would change")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print JSON Lines, the counts last")
	return cmd
}
