# What each target does stands behind its name; `make help` prints it.

MODULES   := $(dir $(wildcard go.mod */go.mod guard/*/go.mod))
STATIC    := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VULN      := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
ADAPTERS  := $(dir $(wildcard guard/*/go.mod))
SOAK      ?= 2m
# The tests of what the pages say: links, snippets, what is to be pasted, claims with their proofs.
PAGES     := TestDocs|TestLinks|TestEverySnippet|TestEveryClaim|TestEveryCell|TestEveryLineOf|TestWhat(ThePages|Workflows)|TestThe(Program|Code)Of
# The race detector empties pools and bounds goroutines, so `make test` cannot see what these bound.
HIDDEN    := TestAnEnqueueAllocates|TestSumAllocates|TestManyCallersWhoGiveUpAtOnce
# Many tests wait, for a lease to end or a server to start.
TESTFLAGS ?= -parallel $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))

# Race detector on, except in modernc's machine-translated SQLite: there it costs
# eleven times the time and can find no bug of ours.
RACE := -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'

.DEFAULT_GOAL := help
.PHONY: help demo test check prose soak mutants bench fuzz zones servers pages screenshots pictures release

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf 'make %-11s %s\n' "$$name" "$$text"; done

demo: ## see it work, in some seconds; needs Go only
	go run ./cmd/onceq demo

test: servers ## every test, with the race detector, against real servers (installs those that are missing, if you are root)
	ONCEQ_TEST_REQUIRE=1 go test $(RACE) -timeout 14m $(TESTFLAGS) ./...
	cd examples && ONCEQ_TEST_REQUIRE=1 go test $(RACE) -timeout 14m $(TESTFLAGS) ./...
	cd test && ONCEQ_TEST_REQUIRE=1 go test $(RACE) -timeout 14m $(TESTFLAGS) ./...
	@for m in $(ADAPTERS); do (cd $$m && ONCEQ_TEST_REQUIRE=1 go test $(RACE) -timeout 5m ./...) || exit 1; done

servers: ## the servers that the tests start, installed
	@scripts/servers

check: ## format, vet (for macOS and Windows too), staticcheck, tidy, known vulnerabilities; links, snippets and claims of the pages; allocations
	@out=$$(gofmt -l .); test -z "$$out" || { echo "gofmt would change:"; echo "$$out"; exit 1; }
	@for m in $(MODULES); do echo "check $$m" && (cd $$m && go vet ./... && go mod tidy -diff && $(STATIC) ./...) || exit 1; done
	@for os in darwin windows; do echo "vet for $$os" && GOOS=$$os go vet ./... && (cd test && GOOS=$$os go vet ./...) || exit 1; done
	@echo "the pages" && go test -count=1 -run '$(PAGES)' . ./docs ./onceqtest
	@echo "what the race detector hides" && go test -count=1 -run '$(HIDDEN)' . ./internal/fingerprint ./internal/batch
	@scripts/vulnerabilities "$(VULN)"
	@for m in $(ADAPTERS); do echo "vulnerabilities $$m" && (cd $$m && $(CURDIR)/scripts/vulnerabilities "$(VULN)") || exit 1; done

prose: ## words a comment line and wide lines, a package each
	@go test -count=1 -run TestProse -v .

soak: ## two minutes a store of kills, lost answers, crashes, full memory and disks, old programs, then killed schedulers, and brokers behind a guard; SOAK=10m for longer
	cd test && ONCEQ_TEST_REQUIRE=1 ONCEQ_SOAK=$(SOAK) go test -count=1 $(RACE) -timeout 0 -run "TestSoak|TestWhatever|TestKilledSchedulers" -v .
	@for m in $(ADAPTERS); do (cd $$m && ONCEQ_TEST_REQUIRE=1 ONCEQ_SOAK=$(SOAK) go test -count=1 $(RACE) -timeout 0 -run "TestSoak|TestRabbitMQ" -v .) || exit 1; done

mutants: ## plants every fault of test/mutants_*.go into SQL, Lua and rules: each must be caught
	cd test && ONCEQ_TEST_REQUIRE=1 ONCEQ_MUTANTS=all go test -count=1 -timeout 0 -run TestEveryPlantedFault -v .

bench: ## the rates of this machine
	go run ./cmd/onceq bench

fuzz: ## a minute of random input for the encoding of keys, and one for schedules
	go test -run XXX -fuzz FuzzPreimageIsInjective -fuzztime 60s ./internal/fingerprint
	go test -run XXX -fuzz FuzzNext -fuzztime 60s ./internal/cron

pages: servers ## how long every page takes beside a million jobs (200,000 on Redis); it takes some minutes
	cd test && ONCEQ_TEST_REQUIRE=1 ONCEQ_PAGES=1000000 go test -count=1 -timeout 0 -parallel 1 -run 'TestPagesAnswerInTime|TestQueuesAndRunning' -v .

screenshots: servers ## pictures of every page, tried in a browser; three of them go into docs/pictures for the README
	cd test && ONCEQ_TEST_REQUIRE=1 ONCEQ_SHOTS=$${ONCEQ_SHOTS:-$(CURDIR)/.screenshots} go test -count=1 -run 'TestAxe|TestExplainSays|TestABrowserSigns|TestAPageIsUsed|TestRowsAreChosenWithTheKeyboard|TestAnOpenPage' .
	for p in overview=overview key-completed=key explained=explain; do cp $${ONCEQ_SHOTS:-.screenshots}/full-$${p%=*}-1280-light.png docs/pictures/$${p#*=}.png; done

pictures: ## the picture of the demo, drawn from what it prints
	ONCEQ_PICTURES=1 go test -count=1 -run TestThePictureOfTheDemoIsWhatItPrints ./cmd/onceq

zones: ## two years of every time zone, minute by minute, against the ticks of schedules
	ONCEQ_LONG=1 go test -count=1 -timeout 0 -run TestAYear -v ./internal/cron

release: ## the command for the usual systems, with checksums, in dist/: of a commit, built twice and the same byte for byte
	@scripts/release
