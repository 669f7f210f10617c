package main

import (
	"context"
	"fmt"

	"countersign/internal/catalog"
	"countersign/internal/catalog/vendors"
	"countersign/internal/config"
	"countersign/internal/operation"
	"countersign/rego"

	"github.com/spf13/cobra"
)

func catalogCommand(s streams) *cobra.Command {
	return group("catalog", "Keep the catalog of operations up with what vendors publish", catalogDiffCommand(s))
}

func catalogDiffCommand(s streams) *cobra.Command {
	var file, api string
	var asJSON, failOnNew bool
	cmd := &cobra.Command{
		Use:   "diff FILE|-",
		Short: "Compare a vendor's description of an API with the catalog",
		Long: `Reads OpenAPI 3 or Swagger 2 (JSON or YAML), a Google discovery document, an AWS service model (service-2.json), Smithy
model or service reference, or Microsoft Graph's permissions.json, and reports operations that the catalog does not cover, entries
that the description has no operation for, and entries that the vendor marks otherwise. The format is told by the content.`,
		Args: cobra.ExactArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := config.Load(file, config.OS())
			if err != nil {
				return err
			}
			r, err := diffCatalog(ctx, c, api, s, args)
			if err != nil {
				return err
			}
			write := r.WriteTable
			if asJSON {
				write = r.WriteJSON
			}
			if err := write(s.out); err != nil {
				return err
			}
			if n := r.Alarming(); failOnNew && n > 0 {
				return fmt.Errorf("%d new operations look sensitive", n)
			}
			return nil
		}),
	}
	configFlag(cmd, &file)
	cmd.Flags().StringVar(&api, "api", "", "the catalog's `name` of the API, where the description does not tell")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	cmd.Flags().BoolVar(&failOnNew, "fail-on-new", false, "exit 1 when a new operation looks sensitive")
	return cmd
}

// diffCatalog compares with the catalog that this binary runs on, and reads calls as its sidecar does.
func diffCatalog(ctx context.Context, c config.Config, api string, s streams, args []string) (vendors.Report, error) {
	known, err := catalog.Load(rego.Catalog())
	if err != nil {
		return vendors.Report{}, fmt.Errorf("load catalog: %w", err)
	}
	parser, err := operation.New(operation.Options{Catalog: known, MaxDecoded: int64(c.Limits.Body)})
	if err != nil {
		return vendors.Report{}, fmt.Errorf("make parser: %w", err)
	}
	in, err := input(s.in, args)
	if err != nil {
		return vendors.Report{}, err
	}
	defer func() { _ = in.Close() }() // it was only read
	d, err := vendors.Read(in)
	if err != nil {
		return vendors.Report{}, err
	}
	return vendors.Diff(ctx, vendors.Options{Catalog: known, Parser: parser, API: api}, d)
}
