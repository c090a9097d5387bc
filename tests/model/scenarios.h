/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios.h - all scenarios, and which one must catch which mutant. */
#ifndef MODEL_SCENARIOS_H
#define MODEL_SCENARIOS_H

#include "explore.h"

/* name, setup, finish, crashes, what it is; then any other members */
#define SCENARIO(n, s, f, c, w, ...) \
	{ \
		.name = n, .what = w, .setup = s, .finish = f, .crashes = c, \
		.word_name = world_word_name, ##__VA_ARGS__ \
	}

extern const struct explore_scenario live_scenarios[], join_scenarios[], end_scenarios[];
extern const int live_scenario_count, join_scenario_count, end_scenario_count;

int scenario_count(void);
const struct explore_scenario *scenario_at(int i);

struct mutant_case {
	const char *name;
	const char *caught_by; /* SCENARIO/MEMORY; also one for long runs only */
	const char *what;
	bool lives; /* nothing notices: that is claimed, and checked */
};
extern const struct mutant_case mutant_cases[];
extern const int mutant_case_count;

#endif
