# The builder is an argument, so that a mirror can stand in: --build-arg BUILDER=registry.example/golang:1.26
ARG BUILDER=golang:1.26-bookworm
FROM ${BUILDER} AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/countersign ./cmd/countersign \
 && mkdir -p /out/state

# Nothing but the binary, the public roots and a place for state: run with a read-only root and a volume on /state.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/countersign /countersign
COPY --from=build --chown=65532:65532 /out/state /state
COPY --chown=65532:65532 sidecar.yaml /sidecar.yaml
USER 65532:65532
WORKDIR /
VOLUME /state
EXPOSE 8080 8081 9090
ENTRYPOINT ["/countersign"]
CMD ["run", "-c", "/sidecar.yaml"]
