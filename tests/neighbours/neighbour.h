/* SPDX-License-Identifier: MIT */
/*
 * neighbour.h: what a neighbour offers to the program that it is in, or that loads it.
 */
#ifndef NEIGHBOUR_H
#define NEIGHBOUR_H

enum neighbour_state {
	NEIGHBOUR_FAST = 1,		/* it believes that its area is registered, and uses it */
	NEIGHBOUR_SLOW = 2,		/* it could not register */
	NEIGHBOUR_INTACT = 3,		/* it has nothing to do with rseq, and all is well */
	NEIGHBOUR_SPOILT = 4,		/* somebody wrote into its storage */
};

/* What each of its operations does first, in the calling thread; enum neighbour_state. */
int neighbour_touch(void);

/* Ends its registration in the calling thread. Returns 0, or the errno. */
int neighbour_leave(void);

#endif /* NEIGHBOUR_H */
