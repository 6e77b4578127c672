# The images of one archive entry, in the words of the archive: make all DIR=buildkit/v0.20.2
# A thin face on images/Dockerfile. What is made of the kernel's and the root's versions is in build/IMAGE/versions.json.

DIR ?= buildkit/v0.20.2
# The repository that the images are named by and pushed to.
REPO ?= kiln/archive
VERSION ?= v0.1.0
IMAGE ?= $(subst /,-,$(DIR))
# Of the disk of a VM; DISK_SIZE says another when it is started.
SIZE ?= 20G
# Further words for docker buildx build: --build-context base=… where there is no Docker Hub, --no-cache, --builder NAME.
FLAGS ?=
# FORCE=1 pushes a version that the registry has already.
FORCE ?=

DOCKER ?= docker
RETRIES = 3
RETRY_SECONDS = 10
OUT = build/$(IMAGE)
PINS = images/$(DIR)/.env

ifeq ($(wildcard $(PINS)),)
$(error There is no $(PINS); DIR is a folder of images/, such as buildkit/v0.20.2)
endif
# KEY=VALUE lines, each an argument of the Dockerfile.
ARGUMENTS = $(patsubst %,--build-arg '%',$(filter-out STATE=%,$(shell sed -n '/^[A-Z]/p' '$(PINS)')))
BUILD = $(DOCKER) buildx build $(FLAGS) $(ARGUMENTS)
# A recipe is one shell, which says at its end what it took.
TIMED = set -eu; start=$$(date +%s); trap 'echo "$@: $$(($$(date +%s) - start)) s"' EXIT;
TAGS = ctr_$(IMAGE)_$(VERSION) ctr_$(IMAGE) $(IMAGE) $(IMAGE)_$(VERSION)

.PHONY: help all ctr vm dqd push clean

help:
	@echo 'make all DIR=buildkit/v0.20.2 REPO=registry.example.org/me/archive VERSION=v0.1.0'
	@echo '  clean  removes what an earlier run made of this version'
	@echo '  ctr    $(REPO):ctr_$(IMAGE)_$(VERSION), the root file system of the VM'
	@echo '  vm     $(OUT)/: kernel, initrd, disk.qcow2, versions.json'
	@echo '  dqd    $(REPO):$(IMAGE)_$(VERSION), QEMU and the VM in a container'
	@echo '  push   both to REPO, each under its version and under the name without, which then moves'
	@echo '  all    the five, in this order'
	@echo 'Variables: DIR REPO VERSION IMAGE SIZE FLAGS FORCE DOCKER'

# One after the other, whatever -j says.
all:
	@$(TIMED) for target in clean ctr vm dqd push; do $(MAKE) --no-print-directory "$$target"; done

ctr:
	@$(TIMED) $(BUILD) --load --target ctr -t '$(REPO):ctr_$(IMAGE)_$(VERSION)' -t '$(REPO):ctr_$(IMAGE)' images

vm:
	@$(TIMED) $(BUILD) --target vm --output 'type=local,dest=$(OUT)' images

dqd: $(OUT)/disk.qcow2
	@$(TIMED) $(BUILD) --load --target dqd --build-context 'made-vm=$(OUT)' --build-arg 'DISK_SIZE=$(SIZE)' \
	  -t '$(REPO):$(IMAGE)_$(VERSION)' -t '$(REPO):$(IMAGE)' images

$(OUT)/disk.qcow2:
	@$(MAKE) --no-print-directory vm

# The version last: a push that failed half-way may be repeated, one that is there is never replaced unnoticed.
push:
	@$(TIMED) \
	if [ -z '$(FORCE)' ] && $(DOCKER) buildx imagetools inspect '$(REPO):$(IMAGE)_$(VERSION)' >/dev/null 2>&1; then \
	  echo '$(REPO):$(IMAGE)_$(VERSION) is published, and versions do not change: choose another VERSION, or FORCE=1' >&2; exit 1; \
	fi; \
	for tag in $(TAGS); do \
	  try=1; \
	  until $(DOCKER) push '$(REPO)':"$$tag"; do \
	    if [ "$$try" -gt $(RETRIES) ]; then echo "$$tag could not be pushed, $(RETRIES) retries included" >&2; exit 1; fi; \
	    echo "retry $$try of $(RETRIES) in $(RETRY_SECONDS) s" >&2; sleep $(RETRY_SECONDS); try=$$((try + 1)); \
	  done; \
	done

clean:
	@$(TIMED) rm -rf '$(OUT)'; for tag in $(TAGS); do $(DOCKER) image rm '$(REPO)':"$$tag" >/dev/null 2>&1 || true; done
