// Command quickstart is `countersign demo` in a main of its own, which builds in a fraction of the time because it links
// no Microsoft SDK: go run ./examples/quickstart [--answer approve|deny|ignore|fraud].
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"countersign/internal/app/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	answer := flags.String("answer", "", "what the person does: approve, deny, ignore or fraud; without it, answer on the phone page yourself")
	verbose := flags.Bool("v", false, "show the sidecar's own log")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	o := demo.Options{Answer: *answer, Out: stdout}
	if *verbose {
		o.Log = stderr
	}
	if err := demo.CheckAnswer(*answer); err != nil || flags.NArg() > 0 {
		fmt.Fprintln(stderr, "quickstart: use --answer approve, deny, ignore or fraud, and nothing else")
		return 2
	}
	if err := demo.Run(ctx, o); err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	return 0
}
