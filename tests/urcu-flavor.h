/* SPDX-License-Identifier: MIT */
/*
 * urcu-flavor.h: the flavour of liburcu that a test is built for: FLAVOR_MB, FLAVOR_QSBR,
 * FLAVOR_BP, or else the one with membarrier(). Chosen as any program would.
 */
#ifndef URCU_FLAVOR_H
#define URCU_FLAVOR_H

#include <stdbool.h>

#if defined(FLAVOR_QSBR)
# include <urcu-qsbr.h>
# define IS_QSBR	true
#elif defined(FLAVOR_BP)
# include <urcu-bp.h>
# define IS_QSBR	false
#else
# ifdef FLAVOR_MB
#  define RCU_MB
# else
#  define RCU_MEMBARRIER
# endif
# include <urcu.h>
# define IS_QSBR	false
#endif

#include <rseq/urcu.h>

#endif /* URCU_FLAVOR_H */
