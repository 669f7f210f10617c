package main

import (
	"context"

	"countersign/internal/app/demo"

	"github.com/spf13/cobra"
)

func demoCommand(s streams) *cobra.Command {
	var answer string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job: simulated Graph, Duo and phone, and the real sidecar between them",
		Long: `Plays an allowed call, one that is held for a push, and a refused one, on this machine alone. Without --answer it serves a
phone page and waits for you; with it, it runs by itself and exits 0 only if all three came out as they must.`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return demo.CheckAnswer(answer) },
		RunE: does(func(ctx context.Context, _ []string) error {
			o := demo.Options{Answer: answer, Out: s.out}
			if verbose {
				o.Log = s.err
			}
			return demo.Run(ctx, o)
		}),
	}
	cmd.Flags().StringVar(&answer, "answer", "", "what the person does: approve, deny, ignore or fraud")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show the sidecar's own log")
	return cmd
}
