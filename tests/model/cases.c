/* SPDX-License-Identifier: Apache-2.0 */
/* cases.c - which scenario must catch which mutant. `explore --matrix` says which ones do. */
#include "scenarios.h"
#include "world.h"

static const struct {
	const struct explore_scenario *first;
	const int *count;
} groups[] = {
	{ live_scenarios, &live_scenario_count },
	{ join_scenarios, &join_scenario_count },
	{ end_scenarios, &end_scenario_count },
};

int scenario_count(void)
{
	int n = 0;

	for (size_t i = 0; i < BUS_ARRAY_LEN(groups); i++)
		n += *groups[i].count;
	return n;
}

const struct explore_scenario *scenario_at(int i)
{
	size_t g = 0;

	while (i >= *groups[g].count)
		i -= *groups[g++].count;
	return &groups[g].first[i];
}

const struct mutant_case mutant_cases[] = {
	{ "no_w1", "live.1x1/tso", "publish without a fence before it looks who sleeps" },
	{ "no_w3", "live.1x1/tso", "the subscriber sleeps without a fence" },
	{ "no_w2", "live.1x1/tso",
	  "flush without a fence before it looks whether the publisher sleeps" },
	{ "no_slot_gate", "live.1x1/tso", "the publisher does not wait for readers" },
};
const int mutant_case_count = (int)BUS_ARRAY_LEN(mutant_cases);
