package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"countersign/internal/config"
	"countersign/policy"
	"countersign/rego"
)

// PolicySources are what the policy tools work on: the built-in policy with c's settings, and paths, or where those
// are not given the configuration's own.
func PolicySources(c config.Config, paths []string) (policy.Sources, error) {
	if len(paths) == 0 {
		paths = c.Policy.Paths
	}
	if len(paths) == 0 {
		return policy.Sources{}, errors.New("no policy files: name some, or a configuration that has policy.paths")
	}
	return policy.Sources{Base: rego.Policies(), Testing: rego.Testing(), Paths: paths, Settings: policySettings(c)}, nil
}

// policySettings is what Rego sees of the configuration.
func policySettings(c config.Config) map[string]any {
	return map[string]any{"unlisted_writes": c.Policy.UnlistedWrites, "trust": c.Requester.Trust}
}

// PolicyTest has the switches of `countersign policy test`.
type PolicyTest struct {
	Run       string
	Coverage  bool
	Threshold float64 // per cent; above 0, Coverage is on
	Verbose   bool
	JSON      bool
}

// Test runs the tests of sources and prints what became of them. The error says that some failed.
func (o PolicyTest) Test(ctx context.Context, sources policy.Sources, out io.Writer) error {
	r, err := policy.Test(ctx, policy.TestOptions{Sources: sources, Run: o.Run, Coverage: o.Coverage || o.Threshold > 0})
	if err != nil {
		return err
	}
	if o.JSON {
		err = printJSON(out, r)
	} else {
		err = o.print(out, r)
	}
	switch {
	case err != nil:
		return err
	case r.Failed > 0:
		return fmt.Errorf("%d of %d tests failed", r.Failed, len(r.Tests))
	case o.Threshold > 0 && r.Coverage.Percent < o.Threshold:
		return fmt.Errorf("the tests cover %.1f %% of the rules, less than %g %%", r.Coverage.Percent, o.Threshold)
	default:
		return nil
	}
}

func (o PolicyTest) print(out io.Writer, r policy.TestReport) error {
	var b strings.Builder
	for _, t := range r.Tests {
		if t.Outcome == policy.TestPassed && !o.Verbose {
			continue
		}
		fmt.Fprintf(&b, "%-5s %s: %s.%s (%.1f ms)\n", t.Outcome, t.Place, t.Package, t.Name, t.Millis)
		if t.Reason != "" {
			fmt.Fprintf(&b, "      %s\n", t.Reason)
		}
		for _, c := range t.Cases {
			fmt.Fprintf(&b, "      case %s\n", c)
		}
		for line := range strings.Lines(t.Output) {
			fmt.Fprintf(&b, "      | %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	if c := r.Coverage; c != nil {
		for _, f := range c.Files {
			fmt.Fprintf(&b, "%5.1f %% %s%s\n", f.Percent, f.File, gaps(f.NotCovered))
		}
		fmt.Fprintf(&b, "coverage: %.1f %%\n", c.Percent)
	}
	fmt.Fprintf(&b, "%d tests: %d passed, %d failed, %d skipped\n", len(r.Tests), r.Passed, r.Failed, r.Skipped)
	_, err := io.WriteString(out, b.String())
	return err
}

// gaps writes what no test reaches as lines: ": not lines 4, 7-9".
func gaps(ranges [][2]int) string {
	if len(ranges) == 0 {
		return ""
	}
	var parts []string
	for _, r := range ranges {
		if r[0] == r[1] {
			parts = append(parts, fmt.Sprint(r[0]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r[0], r[1]))
		}
	}
	return ": not lines " + strings.Join(parts, ", ")
}

// printJSON writes one indented document.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
