package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"countersign/internal/config"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage, a bad configuration included
)

// streams are what a command reads and writes: results on out, talk on err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// failure marks an error of a command that was called rightly. Whatever reaches run without it is wrong usage.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// run executes the command line and returns its exit code.
func run(ctx context.Context, args []string, s streams) int {
	root := &cobra.Command{
		Use:   "countersign",
		Short: "A proxy that holds an AI agent's sensitive admin calls until the employee who asked approves a push",
		Long: `Countersign reads every call an AI agent makes to admin APIs, classifies it by policy, holds a sensitive one until the
employee who asked for it approves a push on their own phone, and then forwards exactly that call, once, or refuses it.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetArgs(args)
	root.AddCommand(runCommand(s), demoCommand(s), checkCommand(s), assertCommand(s), caCommand(s), auditCommand(s), policyCommand(s), catalogCommand(s), holdsCommand(s), setupCommand(s), doctorCommand(s), versionCommand(s))
	return report(root.ExecuteContext(ctx), s.err)
}

// report says what went wrong and picks the exit code.
func report(err error, w io.Writer) int {
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(w, "countersign:", err)
	if _, bad := errors.AsType[*config.Problems](err); bad {
		return exitUsage
	}
	if _, failed := errors.AsType[failure](err); failed {
		return exitFailed
	}
	fmt.Fprintln(w, "Run 'countersign help' for usage.")
	return exitUsage
}

// does wraps a command's work, so that its errors are told from errors of its usage.
func does(work func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := work(cmd.Context(), args); err != nil {
			return failure{err}
		}
		return nil
	}
}

// group is a command that only holds others; called alone or with an unknown word it is wrong usage.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return fmt.Errorf("%s needs a command; see 'countersign %s --help'", use, use)
	}}
	cmd.AddCommand(subs...)
	return cmd
}

func configFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration `file` (default: "+config.DefaultFile+" if it is there, or built-in defaults)")
}

func versionCommand(s streams) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: does(func(context.Context, []string) error {
		_, err := fmt.Fprintln(s.out, version)
		return err
	})}
}
