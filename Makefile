# The words a newcomer types. `make` alone tells them.

TARGETS := mini base full xtra
# Every script of ours, by its first line; hooks have no suffix to go by.
SCRIPTS  = $(shell git grep -lE '^\#!(/usr)?/bin/(env )?(ba|da)?sh( |$$)' -- ':!*.md' ':!*.rs' 2>/dev/null)
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
# The image suite is a test target of its own: it needs an engine and an image, and has its own word.
IMAGE_SUITE := $(wildcard tests/image tests/image.rs)

# Words that the demo understands; `make help` in demo/ tells them.
DEMO := down destroy cli sh logs status phones start stop restart ps config diff top htop env ipcs logger sv nft autoban codecs pw sms0 sms1 sms2 sips_test sound_enable sound_disable sound_1 sound_2 sound_3 sound_4 sound_5 sound_6

.DEFAULT_GOAL := help
.PHONY: help up $(DEMO) binary image tags sbom engine check lint audit unit test bench $(TARGETS:%=image-%)

help:
	@echo "make up         build what is missing, start the demo, wait until it is healthy"
	@echo "make phones     the settings of the demo's two phones"
	@echo "make status     services and their state"
	@echo "make logs       the log, as it grows"
	@echo "make cli        the Asterisk console"
	@echo "make sh         a shell inside"
	@echo "make down       stop the demo; its volume stays"
	@echo "make destroy    stop the demo and DELETE its volume"
	@echo
	@echo "make image      all images: $(TARGETS:%=switchhook:%), latest = full"
	@echo "make image-T    one of them"
	@echo "make tags       their names as a release: switchhook:1.2.3, 1.2, 1, mini-1.2.3, ..."
	@echo "make sbom       what is in them: build/sbom/"
	@echo "make check      the gate: format, lints, licences, unit and process tests"
	@echo "make audit      known holes in the crates (needs the network)"
	@echo "make test       check, and the image suite"
	@echo "make bench      all measurements; bench-boot, bench-supervision, ... one of them"

up: image-full
	@$(MAKE) --no-print-directory -C demo up
	@echo
	@echo "The exchange is up. Two phones wait to be set up:  make phones"
	@echo "What it does:  make logs    Its services:  make status    Stop it:  make down"

$(DEMO): engine
	@$(MAKE) --no-print-directory -C demo $@

restart_%: engine
	@$(MAKE) --no-print-directory -C demo $@

engine:
	@command -v docker >/dev/null || \
		{ echo "There is no Docker engine here: install one, on Debian with 'apt-get install docker.io docker-compose'." >&2; exit 69; }
	@docker version >/dev/null 2>&1 || \
		{ echo "The Docker engine does not answer: start it, or join the group docker." >&2; exit 69; }
	@docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null || \
		{ echo "Docker is here but compose is not: on Debian, 'apt-get install docker-compose'." >&2; exit 69; }

# cargo and docker/image know themselves what is up to date.
binary:
	@docker/binary

image: $(TARGETS:%=image-%)

$(TARGETS:%=image-%): image-%: engine binary
	@docker/image $*

# The names of a release: VERSION, MAJOR.MINOR, MAJOR, and with a target before them.
tags: image
	@docker/tags $(TARGETS)

# What is in the images, as CycloneDX: build/sbom/TARGET-packages.cdx.json and TARGET-crates.cdx.json.
sbom: image
	@docker/sbom $(TARGETS)

check: lint unit

lint:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --bin switchhook-init -- -D warnings
	shellcheck -x $(SCRIPTS)
	$(if $(shell command -v cargo-deny),cargo deny --log-level error check licenses bans sources,@echo "cargo-deny is not installed: licences are not checked (cargo install --locked cargo-deny)")

# Known holes in crates; asks the advisory database over the network, so it is no part of the gate.
audit:
	cargo deny --log-level error check advisories

unit:
ifeq ($(NEXTEST),yes)
	cargo nextest run --locked $(if $(IMAGE_SUITE),-E 'not binary(image)')
else
	cargo test --locked --lib --bins $(if $(wildcard tests/it tests/it.rs),--test it)
endif

test: check image-full image-mini
	$(if $(IMAGE_SUITE),$(if $(NEXTEST),cargo nextest run --locked --test image,cargo test --locked --test image),@echo "there is no image suite yet")

# A measurement is an executable file of bench/; it prints its bars and writes bench/results/.
bench:
	@for bench in bench/*; do if [ -f $$bench ] && [ -x $$bench ]; then $$bench || exit 1; fi; done

bench-sizes: image
	@bench/sizes

bench-%:
	@bench/$*
