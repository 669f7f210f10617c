# What a contributor runs is what CI runs: `make check`, then `make e2e`.
GO ?= go
LINT := $(GO) tool -modfile=tools.mod
FUZZTIME ?= 5s
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help build test check lint vuln fuzz bench rules quickstart examples corpus e2e image clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## bin/countersign, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/countersign ./cmd/countersign

test: ## the unit and script tests, with the race detector
	$(GO) test -race -shuffle=on ./...

lint: ## vet and golangci-lint
	$(GO) vet ./...
	$(GO) vet -tags e2e ./internal/e2e/... ./internal/holdmodel/... ./providers/microsoft365/signin/...
	$(LINT) golangci-lint run

vuln: ## known vulnerabilities, where the database can be reached
	scripts/vuln

fuzz: ## FUZZTIME of every fuzz target
	scripts/fuzz $(FUZZTIME)

bench: ## the benchmarks, each beside its baseline
	$(GO) test -run '^$$' -bench . -benchmem ./...

quickstart: ## the demo with each answer
	scripts/quickstart

rules: build ## tests and lint of the built-in policy and the example rules
	$(GO) test -count 1 ./rego
	bin/countersign policy lint --strict $(sort $(wildcard examples/policies/*/))

examples: ## the smoke test of each example
	for s in examples/*/smoke.sh; do echo "== $$s"; bash "$$s" || exit 1; done

corpus: ## score labelled requests: make corpus, or make corpus CORPUS=DIR
	scripts/corpus $(or $(CORPUS),rego/testdata/corpus)

check: lint test rules fuzz quickstart examples vuln ## all of the above

e2e: build ## real clients: msgraph-sdk-go, curl, Python, Node, a browser; a fleet that loses nodes
	$(GO) test -tags e2e -timeout 40m -count 1 ./internal/e2e/... ./internal/holdmodel/... ./providers/microsoft365/signin/...

image: ## a container image
	docker build --build-arg VERSION=$(VERSION) -t countersign:$(VERSION) .

clean: ## what was built
	rm -rf bin dist
