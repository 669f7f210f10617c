package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"

	"github.com/spf13/cobra"
)

// operatorTime is how long a command waits for the sidecar.
const operatorTime = 15 * time.Second

// operatorFlags say which sidecar is spoken to, and with which token.
type operatorFlags struct{ file, url string }

func holdsCommand(s streams) *cobra.Command {
	var f operatorFlags
	var asJSON bool
	list := &cobra.Command{Use: "list", Short: "List the holds of the sidecar's ledger, oldest first", Args: cobra.NoArgs,
		RunE: does(func(ctx context.Context, _ []string) error { return f.list(ctx, s.out, asJSON) })}
	show := &cobra.Command{Use: "show ID", Short: "Show one hold", Args: cobra.ExactArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			return f.print(ctx, s.out, http.MethodGet, "/v1/holds/"+url.PathEscape(args[0]))
		})}
	cancel := &cobra.Command{Use: "cancel ID", Short: "Withdraw a hold that is pending, or approved and not redeemed", Args: cobra.ExactArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			return f.print(ctx, s.out, http.MethodDelete, "/v1/holds/"+url.PathEscape(args[0]))
		})}
	unblock := &cobra.Command{Use: "unblock [PERSON]", Short: "Let a person be pushed again; without one, list who is blocked", Args: cobra.MaximumNArgs(1),
		RunE: does(func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return f.blocked(ctx, s.out)
			}
			if _, err := f.call(ctx, http.MethodDelete, "/v1/people/"+url.PathEscape(args[0])+"/block"); err != nil {
				return err
			}
			_, err := fmt.Fprintln(s.out, args[0], "can be pushed again")
			return err
		})}
	list.Flags().BoolVar(&asJSON, "json", false, "print the API's own answer")
	cmd := group("holds", "See, cancel and unblock what waits for a person", list, show, cancel, unblock)
	cmd.PersistentFlags().StringVarP(&f.file, "config", "c", "", "configuration `file` of the sidecar: its control address and token (default: "+config.DefaultFile+")")
	cmd.PersistentFlags().StringVar(&f.url, "url", "", "base `URL` of the control API, with the token in COUNTERSIGN_CONTROL_TOKEN, instead of a configuration")
	return cmd
}

// target is the base URL of the control API and the operators' token.
func (f operatorFlags) target() (base, token string, err error) {
	if f.url != "" {
		return strings.TrimSuffix(f.url, "/"), os.Getenv("COUNTERSIGN_CONTROL_TOKEN"), nil
	}
	c, err := config.Load(f.file, app.Environment())
	if err != nil {
		return "", "", err
	}
	switch {
	case c.Listen.Control == "":
		return "", "", errors.New("listen.control is off: there is nothing to ask")
	case !c.Control.Token.Set():
		return "", "", errors.New("control.token is not set: operators are not let in")
	}
	host, port, err := net.SplitHostPort(c.Listen.Control)
	if err != nil {
		return "", "", fmt.Errorf("listen.control: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), c.Control.Token.Reveal(), nil
}

// call asks the control API and returns its answer's body. What it refuses is the error, in its own words.
func (f operatorFlags) call(ctx context.Context, method, path string) ([]byte, error) {
	base, token, err := f.target()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, operatorTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if u, err := user.Current(); err == nil {
		req.Header.Set("Countersign-Operator", u.Username)
	}
	client := &http.Client{ // no proxy: *_PROXY variables may well point at the sidecar itself
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return body, nil
	}
	var problem struct{ Detail string }
	if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
		return nil, errors.New(problem.Detail)
	}
	return nil, fmt.Errorf("the sidecar answered %s", resp.Status)
}

func (f operatorFlags) print(ctx context.Context, out io.Writer, method, path string) error {
	body, err := f.call(ctx, method, path)
	if err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return fmt.Errorf("the sidecar's answer: %w", err)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

func (f operatorFlags) list(ctx context.Context, out io.Writer, asJSON bool) error {
	if asJSON {
		return f.print(ctx, out, http.MethodGet, "/v1/holds")
	}
	body, err := f.call(ctx, http.MethodGet, "/v1/holds")
	if err != nil {
		return err
	}
	var answer struct {
		Holds []struct {
			ID, Status, Requester, Ticket, Provider, Summary string
			OpenedAt                                         time.Time `json:"opened_at"`
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the sidecar's answer: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tOPENED\tREQUESTER\tTICKET\tPROVIDER\tSUMMARY")
	for _, h := range answer.Holds {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.Status, h.OpenedAt.UTC().Format(time.RFC3339), plain(h.Requester), plain(h.Ticket), plain(h.Provider), plain(h.Summary))
	}
	return w.Flush()
}

func (f operatorFlags) blocked(ctx context.Context, out io.Writer) error {
	body, err := f.call(ctx, http.MethodGet, "/v1/people")
	if err != nil {
		return err
	}
	var answer struct {
		People []struct {
			Person, Reason, Agent, Ticket string
			Since, Until                  time.Time
		}
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the sidecar's answer: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PERSON\tREASON\tSINCE\tUNTIL\tTICKET\tAGENT")
	for _, p := range answer.People {
		until := "an operator unblocks"
		if !p.Until.IsZero() {
			until = p.Until.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", plain(p.Person), p.Reason, p.Since.UTC().Format(time.RFC3339), until, plain(p.Ticket), plain(p.Agent))
	}
	return w.Flush()
}

// plain keeps what came with a request from moving the cursor of whoever reads it.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '\uFFFD'
		}
		return r
	}, s)
}
