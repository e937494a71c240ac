# make test     every test, against real servers (installs them where it can)
# make lint     go vet, staticcheck, formatting
# make fuzz     every fuzz target for FUZZTIME
# make bench    benchmarks beside the bare libraries and the peers
# make vectors  verify the embedded test vectors
# make conformance  every backend's suite, and docs/conformance.md from it
# make faults   every fault on every backend, and docs/faults.md from it
# make soak     long forms of tests, 30 minutes (SOAK=2h) under faults, and docs/soak.md from them
# make interop  live tests against cachekit-rs (its cargo build takes minutes)

GO ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 10s
BENCHTIME ?= 1s
SOAK ?= 30m
LONG = ^(TestSealsNeverRepeatANonce|TestNobodyIsGivenTheValueOfAnother)$$
TESTFLAGS ?=

.PHONY: test conformance tools lint fuzz bench vectors interop examples faults soak

# -parallel 4: a backend's suites wait for expiries and stalled servers more than they work.
test: tools
	$(GO) test -parallel 4 $(TESTFLAGS) ./...
	cd internal/tinkcompat && $(GO) test $(TESTFLAGS) ./...

tools:
	@sh scripts/tools.sh

lint:
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags interop ./internal/peers/... ./cmd/keytool
	$(GO) run $(STATICCHECK) ./...

fuzz:
	@sh scripts/fuzz.sh $(FUZZTIME)

bench: tools
	@sh scripts/bench.sh $(BENCHTIME)

vectors:
	$(GO) test -count=1 -v ./testvectors

conformance: tools
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	CACHEKIT_CONFORMANCE_DIR=$$dir $(GO) test -count=1 $(TESTFLAGS) -run "$$($(GO) run ./internal/conformance)" ./backends/... && \
	$(GO) run ./internal/conformance "$$dir" docs/conformance.md

faults: tools
	$(GO) test -count=1 -run '^(TestFaults|TestClocks)$$' ./internal/faults -faults-page $(CURDIR)/docs/faults.md

soak: tools
	CACHEKIT_SOAK=1 $(GO) test -count=1 -timeout 0 -run "$(LONG)" ./internal/envelope ./internal/claims
	$(GO) test -count=1 -timeout 0 -run '^TestSoak$$' ./internal/faults -soak $(SOAK) -soak-report $(CURDIR)/docs/soak.md

interop: tools
	$(GO) test -count=1 -tags interop $(TESTFLAGS) ./internal/peers/...
	$(GO) test -count=1 -tags interop -run RustThrough $(TESTFLAGS) ./cmd/keytool

examples:
	$(GO) build -o /dev/null ./examples/...
