# A thin front for CMake: see CMakePresets.json for the builds themselves.
#   make            build the library and the program in build/release
#   make demo       install what is missing (Debian, Ubuntu), build, fetch real weights and photographs, classify them
#   make test       install what is missing, build, run every test
#   make metal-full every Metal design on every GPU family under every check of the software device, half an hour
#   make install    [PREFIX=/usr/local] [DESTDIR=]
#   make lint       clang-format, clang-tidy and shellcheck, as CI runs them; make format rewrites the sources
# PRESET=debug, asan or tsan builds another way; CMAKE_ARGS is handed to cmake, e.g. -DBUILD_SHARED_LIBS=OFF.
PRESET ?= release
PREFIX ?= /usr/local
CMAKE_ARGS ?=
JOBS ?= $(shell nproc)
BUILD = build/$(PRESET)

ifneq ($(shell command -v ninja),)
export CMAKE_GENERATOR ?= Ninja
endif

.PHONY: all demo test metal-full install clean format lint
.NOTPARALLEL:

all:
	@command -v cmake >/dev/null || { scripts/install-deps --check build; exit 1; }
	@cmake --preset $(PRESET) $(CMAKE_ARGS) --log-level=WARNING >/dev/null || { scripts/install-deps --check build; exit 1; }
	@cmake --build $(BUILD) --parallel $(JOBS) $$([ -t 1 ] || [ ! -f $(BUILD)/build.ninja ] || echo -- --quiet)

demo:
	@scripts/install-deps build demo
	@$(MAKE) --no-print-directory all
	@scripts/fetch-data
	@scripts/demo $(BUILD)/tilewise

test:
	@scripts/install-deps build test
	@$(MAKE) --no-print-directory all
	@scripts/fetch-data
	@tests/run $(BUILD)

metal-full:
	@scripts/install-deps build test
	@$(MAKE) --no-print-directory all
	@tests/metal_full.py $(BUILD)

install: all
	@DESTDIR='$(DESTDIR)' cmake --install $(BUILD) --prefix '$(PREFIX)'

clean:
	rm -rf build

format:
	scripts/sources | xargs clang-format -i

lint: all
	scripts/lint $(BUILD)
