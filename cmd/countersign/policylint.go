package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"countersign/internal/app"
	"countersign/internal/catalog"
	"countersign/internal/config"
	"countersign/policy"
	"countersign/rego"

	"github.com/spf13/cobra"
)

func policyLintCommand(s streams) *cobra.Command {
	var file string
	var strict, asJSON, list bool
	cmd := &cobra.Command{
		Use:   "lint [PATH...]",
		Short: "Say what to fix in your rules: what fails open, is never true, or has no test",
		Long: `Reads the files under the paths, or under policy.paths of the configuration, their tests included, and says what to fix in them. A
comment "# countersign:ignore=ID reason" behind a line or above a rule silences a finding. Exit status 1 when there is an error;
warnings count as errors with --strict.`,
		RunE: does(func(ctx context.Context, args []string) error {
			if list {
				return printLintRules(s.out, asJSON)
			}
			c, err := config.Load(file, config.OS())
			if err != nil {
				return err
			}
			o := policy.LintOptions{Strict: strict}
			if o.Sources, err = app.PolicySources(c, args); err != nil {
				return err
			}
			if o.Known, err = vocabulary(c); err != nil {
				return err
			}
			r, err := policy.Lint(ctx, o)
			if err != nil {
				return err
			}
			return printLint(s.out, r, asJSON)
		}),
	}
	configFlag(cmd, &file)
	cmd.Flags().BoolVar(&strict, "strict", false, "treat warnings as errors")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVar(&list, "rules", false, "list what is looked for, and read no file")
	return cmd
}

// vocabulary has the names that the catalog and the configuration know.
func vocabulary(c config.Config) (policy.Vocabulary, error) {
	known, err := catalog.Load(rego.Catalog())
	if err != nil {
		return policy.Vocabulary{}, fmt.Errorf("load catalog: %w", err)
	}
	v := policy.Vocabulary{APIs: known.Names(), Providers: slices.Sorted(maps.Keys(c.Providers))}
	for _, name := range v.APIs {
		if api, ok := known.ByName(name); ok {
			for _, e := range api.Entries() {
				v.Operations = append(v.Operations, e.Name)
			}
		}
	}
	slices.Sort(v.Operations)
	v.Operations = slices.Compact(v.Operations)
	return v, nil
}

func printLint(out io.Writer, r policy.LintReport, asJSON bool) error {
	if asJSON {
		if err := printDocument(out, r); err != nil {
			return err
		}
	} else {
		for _, f := range r.Findings {
			if _, err := fmt.Fprintln(out, f); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(out, "%d files: %d errors, %d warnings, %d silenced\n", r.Files, r.Errors, r.Warnings, r.Silenced); err != nil {
			return err
		}
	}
	if r.Errors > 0 {
		return fmt.Errorf("%d errors in the policy", r.Errors)
	}
	return nil
}

func printLintRules(out io.Writer, asJSON bool) error {
	rules := policy.LintRules()
	if asJSON {
		return printDocument(out, rules)
	}
	for _, r := range rules {
		if _, err := fmt.Fprintf(out, "%-18s %-8s %s\n", r.ID, r.Level, r.Text); err != nil {
			return err
		}
	}
	return nil
}

func printDocument(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
