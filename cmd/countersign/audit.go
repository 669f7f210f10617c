package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"countersign/internal/audit"

	"github.com/spf13/cobra"
)

func auditCommand(s streams) *cobra.Command {
	return group("audit", "Verify and read the journal", verifyCommand(s), showCommand(s))
}

func verifyCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Check the journal's chain: exit status 0 when nothing was changed, removed or added",
		Args:  cobra.ExactArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			return withJournal(args[0], func(f io.Reader) error {
				r, err := audit.Verify(ctx, f)
				printReport(s.out, r)
				return err
			})
		}),
	}
}

func printReport(w io.Writer, r audit.Report) {
	fmt.Fprintf(w, "records: %d\n", r.Records)
	if r.Records > 0 {
		fmt.Fprintf(w, "first: %s\nlast: %s\nhead: sha-256:%s\n", r.First.UTC().Format(time.RFC3339), r.Last.UTC().Format(time.RFC3339), r.Head)
	}
	if r.Torn > 0 {
		fmt.Fprintf(w, "torn: the last %d bytes are half a record, as a crash leaves them; nothing was done on their strength\n", r.Torn)
	}
}

func showCommand(s streams) *cobra.Command {
	var o audit.ShowOptions
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Read the journal, one line a record",
		Args:  cobra.ExactArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			return withJournal(args[0], func(f io.Reader) error { return audit.Show(ctx, f, s.out, o) })
		}),
	}
	cmd.Flags().StringVar(&o.Exchange, "exchange", "", "only this exchange")
	cmd.Flags().StringVar(&o.Hold, "hold", "", "only this hold")
	cmd.Flags().StringSliceVar(&o.Kinds, "kind", nil, "only records of these kinds: decision, redeemed, completed, …")
	cmd.Flags().BoolVar(&o.JSON, "json", false, "print the records as they stand in the file")
	return cmd
}

func withJournal(name string, work func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	return errors.Join(work(f), f.Close())
}
