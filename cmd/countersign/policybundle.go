package main

import (
	"context"
	"errors"

	"countersign/internal/app"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

func policyBuildCommand(s streams) *cobra.Command {
	var file string
	var o app.PolicyBundle
	cmd := &cobra.Command{
		Use:   "build -o FILE [PATH...]",
		Short: "Make an OPA bundle of your rules, for policy.bundle",
		Long: `Compiles the files under the paths, or under policy.paths of the configuration, with the built-in policy, and writes them, tests left
out, as an OPA bundle. With --key the bundle is signed. Prints the revision.`,
		PreRunE: func(*cobra.Command, []string) error { return needsOutput(o) },
		RunE: does(func(ctx context.Context, args []string) error {
			c, err := config.Load(file, config.OS())
			if err != nil {
				return err
			}
			sources, err := app.PolicySources(c, args)
			if err != nil {
				return err
			}
			return o.Build(ctx, sources, s.out)
		}),
	}
	configFlag(cmd, &file)
	bundleFlags(cmd, &o)
	return cmd
}

func policySignCommand(s streams) *cobra.Command {
	var o app.PolicyBundle
	cmd := &cobra.Command{
		Use:   "sign --key FILE -o FILE BUNDLE|-",
		Short: "Sign a bundle, as opa sign does",
		Args:  cobra.ExactArgs(1),
		PreRunE: func(*cobra.Command, []string) error {
			if o.KeyFile == "" {
				return errors.New("--key is missing")
			}
			return needsOutput(o)
		},
		RunE: does(func(_ context.Context, args []string) error {
			in, err := input(s.in, args)
			if err != nil {
				return err
			}
			defer func() { _ = in.Close() }() // it was only read
			return o.Sign(in)
		}),
	}
	bundleFlags(cmd, &o)
	return cmd
}

func bundleFlags(cmd *cobra.Command, o *app.PolicyBundle) {
	cmd.Flags().StringVarP(&o.Out, "output", "o", "", "the `file` to write")
	cmd.Flags().StringVar(&o.KeyFile, "key", "", "`file` with the private key (PEM), or with the secret of an HS algorithm")
	cmd.Flags().StringVar(&o.Algorithm, "algorithm", "RS256", "of the signature: RS256, PS256, ES256, EdDSA, HS256, …")
	cmd.Flags().StringVar(&o.KeyID, "key-id", "", "the key's name, written into the signature")
}

func needsOutput(o app.PolicyBundle) error {
	if o.Out == "" {
		return errors.New("--output is missing")
	}
	return nil
}
