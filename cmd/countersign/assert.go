package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"countersign/internal/requester"

	"github.com/spf13/cobra"
)

func assertCommand(s streams) *cobra.Command {
	return group("assert", "Make requester assertions, for orchestrators, examples and tests", keygenCommand(s), mintCommand(s))
}

func keygenCommand(s streams) *cobra.Command {
	var dir, kind string
	cmd := &cobra.Command{
		Use:   "keygen -o DIR",
		Short: "Make a signing key and its JWKS",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			key, err := requester.GenerateKey(kind)
			if err != nil {
				return err
			}
			if err := requester.WriteKeys(dir, key); err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "%s\n%s\n", filepath.Join(dir, requester.KeyFile), filepath.Join(dir, requester.JWKSFile))
			return err
		}),
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "", "`folder` for the key and jwks.json")
	cmd.Flags().StringVar(&kind, "alg", requester.ES256, "ES256 or EdDSA")
	must(cmd.MarkFlagRequired("output"))
	return cmd
}

func mintCommand(s streams) *cobra.Command {
	var o requester.MintOptions
	var keyFile string
	cmd := &cobra.Command{
		Use:   "mint --key FILE --issuer I --audience A --sub UPN",
		Short: "Print a signed requester assertion",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			key, err := requester.LoadKey(keyFile)
			if err != nil {
				return err
			}
			o.Key = key
			jwt, err := requester.Mint(o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(s.out, jwt)
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVar(&keyFile, "key", "", "private key `file`, from assert keygen")
	f.StringVar(&o.Issuer, "issuer", "", "iss: what requester.assertions.issuer says")
	f.StringVar(&o.Audience, "audience", "", "aud: what requester.assertions.audience says")
	f.StringVar(&o.Subject, "sub", "", "the employee's UPN or e-mail")
	f.StringVar(&o.Ticket, "ticket", "", "the ticket's id")
	f.StringVar(&o.Channel, "channel", "", "where the employee asked")
	f.StringVar(&o.Agent, "agent", "", "the agent it is for")
	f.StringVar(&o.OID, "oid", "", "the employee's immutable id in the directory")
	f.StringVar(&o.TID, "tid", "", "the directory's tenant")
	f.DurationVar(&o.TTL, "ttl", 15*time.Minute, "how long it is good for")
	for _, name := range []string{"key", "issuer", "audience", "sub"} {
		must(cmd.MarkFlagRequired(name))
	}
	return cmd
}

// must is for errors that only a typing mistake in this package can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
