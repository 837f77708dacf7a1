# make demo   see it work, in ten seconds
# make test   every test, with the race detector, against real servers (installs those that are missing, if you are root)
# make check  format, vet, staticcheck, tidy, known vulnerabilities
# make soak   two minutes of faults and random policies; SOAK=10m for longer
# make bench  the rates of this machine

MODULES   := $(dir $(wildcard go.mod */go.mod))
STATIC    := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VULN      := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
SOAK      ?= 2m
TESTFLAGS ?=

# The race detector, but not inside the C library that SQLite's translation is: it makes that eleven times slower and has nothing of ours to find.
RACE := -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'

.PHONY: demo test check soak bench fuzz servers

demo:
	go run ./cmd/onceq demo

test: servers
	ONCEQ_TEST_REQUIRE=1 go test $(RACE) -timeout 9m $(TESTFLAGS) ./...
	cd test && ONCEQ_TEST_REQUIRE=1 go test $(RACE) -timeout 5m $(TESTFLAGS) ./...

servers:
	@scripts/servers

check:
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	@for m in $(MODULES); do echo "check $$m" && (cd $$m && go vet ./... && go mod tidy -diff && $(STATIC) ./...) || exit 1; done
	@scripts/vulnerabilities "$(VULN)"

soak:
	cd test && ONCEQ_SOAK=$(SOAK) go test $(RACE) -timeout 0 -run TestSoak -v ./...

bench:
	go run ./cmd/onceq bench

fuzz:
	go test -fuzz FuzzPreimageIsInjective -fuzztime 60s ./internal/fingerprint
