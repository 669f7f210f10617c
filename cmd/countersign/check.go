package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"countersign/internal/app"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func checkCommand(s streams) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check [FILE|-]",
		Short: "Classify requests without sending them: JSON Lines in, JSON Lines out",
		Long: `Reads one request a line ({"id","method","url","headers","body","body_encoding"}) and prints what policy says of it, in
order. Nothing is sent and nobody is asked. Exit status 0 when every line could be judged.`,
		Args: cobra.MaximumNArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := config.Load(file, app.Environment())
			if err != nil {
				return err
			}
			in, err := input(s.in, args)
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }() // it was only read
			checker, err := app.NewChecker(c, slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn})))
			if err != nil {
				return err
			}
			bad, err := checker.Run(ctx, in, s.out, s.err)
			if err == nil && bad > 0 {
				err = fmt.Errorf("%d lines could not be parsed", bad)
			}
			return err
		}),
	}
	configFlag(cmd, &file)
	return cmd
}

// input opens the file that args name, or standard input without one or for "-".
func input(stdin io.Reader, args []string) (io.ReadCloser, error) {
	if len(args) == 0 || args[0] == "-" {
		return io.NopCloser(stdin), nil
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, fmt.Errorf("open input: %w", err)
	}
	return f, nil
}
