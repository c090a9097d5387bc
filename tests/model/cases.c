/* SPDX-License-Identifier: Apache-2.0 */
/* cases.c - which scenario must catch which mutant. `explore --matrix` says which ones do. */
#include "scenarios.h"
#include "world.h"

int scenario_count(void)
{
	return live_scenario_count;
}

const struct explore_scenario *scenario_at(int i)
{
	return &live_scenarios[i];
}

const struct mutant_case mutant_cases[] = {
	{ "no_w1", "live.1x1/tso", "publish without a fence before it looks who sleeps" },
	{ "no_w3", "live.1x1/tso", "the subscriber sleeps without a fence" },
	{ "no_w2", "live.1x1/tso",
	  "flush without a fence before it looks whether the publisher sleeps" },
	{ "no_slot_gate", "live.1x1/tso", "the publisher does not wait for readers" },
};
const int mutant_case_count = (int)BUS_ARRAY_LEN(mutant_cases);
