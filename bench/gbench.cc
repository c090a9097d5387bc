/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gbench.cc - Google Benchmark around harness.c: names, repetitions, output. Times are those of one
 * call or one message.
 *
 *	gbench --busd=PATH [--benchmark_...]
 */
#include "harness.h"

#include <benchmark/benchmark.h>

#include <cstring>

namespace
{

/* The harness times a burst itself; an iteration is one message of it. */
template <typename Burst> void run(benchmark::State &state, Burst burst)
{
	while (state.KeepRunningBatch(HARNESS_BURST))
		state.SetIterationTime(burst() / 1e9);
}

void send(benchmark::State &state)
{
	harness *h = harness_open(static_cast<uint32_t>(state.range(0)),
				  static_cast<int>(state.range(1)));

	run(state, [h] { return harness_send(h); });
	harness_close(h);
}

void claim_commit(benchmark::State &state)
{
	harness *h = harness_open(static_cast<uint32_t>(state.range(0)), 1);

	run(state, [h] { return harness_claim(h); });
	harness_close(h);
}

void send_batch(benchmark::State &state)
{
	harness *h = harness_open(64, 1);
	int batch = static_cast<int>(state.range(0));

	run(state, [h, batch] { return harness_batch(h, batch); });
	harness_close(h);
}

void peek_release(benchmark::State &state)
{
	harness *h = harness_open(64, 1);
	int batch = static_cast<int>(state.range(0));

	run(state, [h, batch] { return harness_receive(h, batch); });
	harness_close(h);
}

void recv(benchmark::State &state)
{
	harness *h = harness_open(static_cast<uint32_t>(state.range(0)), 1);

	run(state, [h] { return harness_copy_out(h); });
	harness_close(h);
}

void peek_idle(benchmark::State &state)
{
	harness *h = harness_open_idle(static_cast<int>(state.range(0)));

	run(state, [h] { return harness_empty(h); });
	harness_close(h);
}

void fence(benchmark::State &state)
{
	run(state, harness_fence);
}

void counter(benchmark::State &state)
{
	run(state, harness_counter);
}

} // namespace

BENCHMARK(send)
	->UseManualTime()
	->ArgNames({ "bytes", "subscribers" })
	->Args({ 24, 1 })
	->Args({ 64, 1 })
	->Args({ 64, 16 })
	->Args({ 64, 64 })
	->Args({ 64, 0 });
BENCHMARK(claim_commit)->UseManualTime()->ArgName("bytes")->Arg(24)->Arg(64);
BENCHMARK(send_batch)->UseManualTime()->ArgName("batch")->Arg(1)->Arg(16)->Arg(64);
BENCHMARK(peek_release)->UseManualTime()->ArgName("batch")->Arg(1)->Arg(16)->Arg(64);
BENCHMARK(recv)->UseManualTime()->ArgName("bytes")->Arg(24)->Arg(64);
BENCHMARK(peek_idle)->UseManualTime()->ArgName("rings")->Arg(1)->Arg(100);
BENCHMARK(fence)->UseManualTime();
BENCHMARK(counter)->UseManualTime();

int main(int argc, char **argv)
{
	const char *program = "build/busd";

	benchmark::Initialize(&argc, argv);
	for (int i = 1; i < argc; i++) {
		if (std::strncmp(argv[i], "--busd=", 7) == 0) {
			program = argv[i] + 7;
			argv[i] = argv[--argc];
			i--;
		}
	}
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 2;
	harness_busd(program);
	benchmark::RunSpecifiedBenchmarks();
	harness_end();
	return 0;
}
