# The commands of this repository. Each does its own set-up; Documentation/Building.md explains them.

.PHONY: help run build test lint fuzz guest bench boot-compare exit-cost debian-compare save-points save-devices kill-writes replay-cuts disk-faults network-services cpu-proof stress unicorn-compare clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

run: ## Boot Debian's Linux to a shell on this terminal, or a whole Debian (GUEST=debian CPUS=1 MEMORY=… CMDLINE=… ARGS=…)
	@Scripts/run.sh $(ARGS)

build: ## Build the command, optimised
	@Scripts/build.sh

test: ## Run every check: style, rules and tests (FILTER=… picks tests)
	@Scripts/test.sh

lint: ## Check style and rules only
	@Scripts/lint.sh

fuzz: ## Fuzz what reads hostile bytes, a minute a target (SECONDS=60 JOBS=1 TARGETS="…" SANITIZE=address)
	@Scripts/fuzz.sh $(or $(SECONDS),60) $(TARGETS)

guest: ## Put the guest's kernel and file system into the cache and show where
	@Scripts/guest.sh

bench: ## Compare with QEMU and write Documentation/Benchmarks.md (BENCH=folder of the kit)
	@Scripts/bench.sh

boot-compare: ## Boot the same files under QEMU and Roost in turn; compare times and logs (ARGS=…)
	@Scripts/boot-compare.sh $(ARGS)

exit-cost: ## Measure what leaving the guest costs under QEMU and Roost with KVM (ARGS=…)
	@Scripts/exit-cost.sh $(ARGS)

debian-compare: ## Boot the Debian disk of 'make run GUEST=debian' under QEMU and Roost in turn; compare wall times (ARGS=…)
	@Scripts/debian-compare.sh $(ARGS)

stress: ## Work a software processor hard in Linux, and verify every result (SECONDS=600 CPUS=2 ENGINE=software)
	@Scripts/stress.sh $(or $(SECONDS),600)

save-points: ## Save a boot at random moments and finish each in a new process (ARGS=…)
	@Scripts/save-points.sh $(ARGS)

save-devices: ## Save a guest with a busy disk and network at random moments, and go on in new processes (ARGS=…)
	@Scripts/save-devices.sh $(ARGS)

kill-writes: ## Kill Roost while a guest writes, and look for all that was durable (ARGS=…)
	@Scripts/kill-writes.sh $(ARGS)

replay-cuts: ## Lose power at every flush of a guest's file system, and look for all that was durable (ARGS=…)
	@Scripts/replay-cuts.sh $(ARGS)

disk-faults: ## As root: let the host run out of room, or fail, under a guest that writes (ARGS=…)
	@Scripts/disk-faults.sh $(ARGS)

cpu-proof: ## Compare millions of random instructions on the host's processor and on ours (ARGS="--count 20000000 --seed 1")
	@Scripts/cpu-proof.sh $(ARGS)

unicorn-compare: ## Compare random instructions of 16-bit and 32-bit code on Unicorn and on ours (ARGS="--count 1000000 --seed 1")
	@Scripts/unicorn-compare.sh $(ARGS)

network-services: ## Show what the user network does for a Linux guest, a line for each thing (ARGS=…)
	@Scripts/network-services.sh $(ARGS)

clean: ## Remove what was built; the cache outside the repository stays
	@swift package clean
