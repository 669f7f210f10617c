package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"countersign/providers/microsoft365"

	"github.com/spf13/cobra"
)

func setupCommand(s streams) *cobra.Command {
	return group("setup", "Make a provider's service ready for Countersign", setupMicrosoft365(s))
}

// setupFlags are what setup microsoft365 is told on the command line.
type setupFlags struct {
	tenant, client, admin, adminClient, secretEnv, certificate, out, cloud string
	login, graph, rootCAs                                                  string
	lifetime                                                               time.Duration
	apply                                                                  bool
}

func setupMicrosoft365(s streams) *cobra.Command {
	var f setupFlags
	cmd := &cobra.Command{
		Use:   "microsoft365",
		Short: "Register a certificate with a directory's MFA client, after a look at licence and permissions",
		Long: `Looks at licence, service principals and permissions of a directory, and registers a certificate by which the MFA Connector
knows Countersign. Without --apply nothing is changed: what would be is printed. It signs in with an administrator's rights
(Application Administrator), which Countersign itself never needs. Existing certificates stay.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.tenant == "" {
				return errors.New("--tenant is missing: the directory's id")
			}
			o, err := f.options()
			if err != nil {
				return failure{err}
			}
			if err := microsoft365.Setup(cmd.Context(), o, s.out); err != nil {
				return failure{err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.tenant, "tenant", "", "the directory's `id`")
	flags.StringVar(&f.client, "client", "", "client `id` of Countersign's own application, whose permissions are looked at")
	flags.StringVar(&f.admin, "admin", string(microsoft365.AdminAzureCLI), "how the administrator signs in: azure-cli, environment or client-secret")
	flags.StringVar(&f.adminClient, "admin-client", "", "with client-secret: the client `id`")
	flags.StringVar(&f.secretEnv, "admin-secret-env", "AZURE_CLIENT_SECRET", "with client-secret: the environment `variable` that has the secret")
	flags.StringVar(&f.certificate, "certificate", "", "PEM `file` with the certificate to register; without it a new one is made")
	flags.StringVarP(&f.out, "out", "o", "connector.pem", "`file` for a new certificate and its key")
	flags.DurationVar(&f.lifetime, "lifetime", 365*24*time.Hour, "of a new certificate")
	flags.BoolVar(&f.apply, "apply", false, "make the changes")
	flags.StringVar(&f.cloud, "cloud", "", "usgov or china; empty: the global cloud")
	flags.StringVar(&f.login, "login-url", "", "a stand-in for Microsoft's login `URL`")
	flags.StringVar(&f.graph, "graph-url", "", "a stand-in for Microsoft Graph's `URL`")
	flags.StringVar(&f.rootCAs, "root-cas", "", "PEM `file` of the roots of stand-ins")
	return cmd
}

func (f setupFlags) options() (microsoft365.SetupOptions, error) {
	o := microsoft365.SetupOptions{
		TenantID: f.tenant, ClientID: f.client, Admin: microsoft365.Admin(f.admin), AdminClientID: f.adminClient,
		AdminClientSecret: microsoft365.Secret(os.Getenv(f.secretEnv)), Lifetime: f.lifetime, Apply: f.apply,
		Cloud: microsoft365.Cloud(f.cloud), URLs: microsoft365.URLs{Login: f.login, Graph: f.graph},
	}
	if o.Admin != microsoft365.AdminSecret {
		o.AdminClientSecret = ""
	}
	if f.certificate != "" {
		pem, err := os.ReadFile(f.certificate)
		if err != nil {
			return o, err
		}
		o.Certificate = pem
	}
	if f.rootCAs != "" {
		pem, err := os.ReadFile(f.rootCAs)
		if err != nil {
			return o, err
		}
		o.RootCAs = x509.NewCertPool()
		if !o.RootCAs.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("%s: holds no PEM certificate", f.rootCAs)
		}
	}
	o.Save = func(certificate []byte, key microsoft365.Secret) error { return saveNew(f.out, certificate, key) }
	return o, nil
}

// saveNew writes a certificate and its key to a file that must not be there yet: a key that is in use is not lost to a typo.
func saveNew(file string, certificate []byte, key microsoft365.Secret) error {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	_, err = out.Write(append(append([]byte{}, certificate...), []byte(string(key))...))
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("save the certificate: %w", err)
	}
	return nil
}
