package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"countersign/internal/decisionlog"
	"countersign/policy"
	"countersign/proxy"
)

// logDecisions puts the decision log, if there is one, around what decides. It changes no decision and delays none.
func (s *Sidecar) logDecisions(next proxy.Decider, engine *policy.Engine, id string) (proxy.Decider, error) {
	c := s.cfg.Policy.DecisionLogs
	if c.URL == "" {
		return next, nil
	}
	roots, err := bundleRoots(c.RootCAs)
	if err != nil {
		return nil, fmt.Errorf("policy.decision_logs.root_cas: %w", err)
	}
	labels := map[string]string{"id": id}
	maps.Copy(labels, c.Labels)
	o := decisionlog.Options{
		URL: c.URL, Resource: c.Resource, Labels: labels, MinDelay: c.MinDelay, MaxDelay: c.MaxDelay, Buffer: int(c.Buffer),
		Logger: s.log,
		Client: &http.Client{
			Timeout: time.Minute,
			// No Proxy: in the pod *_PROXY points at this sidecar.
			Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if c.Token.Set() {
		token := newRotating(c.Token, s.log)
		o.Token = func() (string, error) { return token.get(), nil }
	}
	log, err := decisionlog.New(o)
	if err != nil {
		return nil, err
	}
	s.onClose(func() { // what is decided until the end is still sent
		if err := log.Close(context.Background()); err != nil {
			s.log.Warn("decision log", slog.Any("error", err))
		}
	})
	return log.Of(next, engine.Revision), nil
}
